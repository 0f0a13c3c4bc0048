"""QLoRA: it learns on weights in 4 bits, resumes to the bit, and ends in a plain model with the same answers."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from llmkit.errors import MissingExtraError, UsageError
from llmkit.training.config import FinetuneConfig
from llmkit.training.evaluating import Sureness, evaluate_model
from llmkit.training.run import finetune
from llmkit.training.trained import Asked
from tests.training.stepping import config_for, ready, write_rows

Tiny = Callable[[str], Path]

is_there = importlib.util.find_spec("bitsandbytes") is not None
needs_it = pytest.mark.skipif(not is_there, reason="bitsandbytes is not installed")
WORDS = {"good": ("delight", "warm", "funny"), "bad": ("worst", "cold", "tasteless")}
ROWS = [
    {"text": f"the film was {WORDS[label][n % 3]}", "label": label}
    for n in range(24)
    for label in ("good", "bad")
]


def config(tiny: Tiny, folder: Path, **sections: Any) -> FinetuneConfig:
    train = write_rows(folder / "train.jsonl", ROWS)
    training = {"epochs": 10, "batch_size": 8, "learning_rate": 2e-2, "save_steps": 20, "keep_checkpoints": 9}
    sections = {"adapter": {"type": "qlora"}, "data": {"validation": 0.25}, "training": training} | sections
    return config_for("text-classification", tiny("text-classification"), folder, train, **sections)


@pytest.mark.skipif(is_there, reason="bitsandbytes is installed")
def test_what_is_missing_is_named(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match="needs the extra 'qlora'"):
        ready(config(tiny, tmp_path))


def test_new_weights_are_not_for_it(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"adapter\.type: qlora"):
        ready(config(tiny, tmp_path, model={"from_scratch": True}))


@needs_it
def test_what_is_in_four_bits_and_what_is_trained(tiny: Tiny, tmp_path: Path) -> None:
    from bitsandbytes.nn import Linear4bit

    model = ready(config(tiny, tmp_path)).model

    four = [each for each in model.modules() if isinstance(each, Linear4bit)]
    assert four
    assert {each.weight.quant_type for each in four} == {"nf4"}
    assert all(each.weight.quant_state.nested for each in four)
    trained = [name for name, each in model.named_parameters() if each.requires_grad]
    assert trained
    assert all("lora" in name or "classifier" in name for name in trained)


@needs_it
def test_it_learns_resumes_and_ends_in_a_plain_model(tiny: Tiny, tmp_path: Path) -> None:
    asked = config(tiny, tmp_path)
    run = finetune(asked, device="cpu")
    assert run.figures["eval_accuracy"] >= 0.9

    plain = json.loads((run.output / "config.json").read_text())
    assert "quantization_config" not in plain
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(run.output)
    assert {each.dtype for each in loaded.parameters()} == {torch.float32}
    found = evaluate_model(
        Asked(str(run.output), data=asked.data.train), device="cpu", sureness=Sureness(resamples=0)
    )
    assert found.metrics["accuracy"] >= 0.9

    whole = hashlib.sha256((run.output / "model.safetensors").read_bytes()).hexdigest()
    for path in run.output.glob("checkpoints/step-*"):
        if path.name != "step-00000020":
            shutil.rmtree(path)
    (run.output / "model.safetensors").unlink()
    finetune(asked, resume=True, device="cpu")
    assert hashlib.sha256((run.output / "model.safetensors").read_bytes()).hexdigest() == whole


@needs_it
def test_judging_between_steps_takes_no_gradient_away(tiny: Tiny, tmp_path: Path) -> None:
    run = ready(config(tiny, tmp_path, training={"batch_size": 8}))
    batch = run.objective.collate(run.data.train.take([0, 1, 2]), [])
    run.model.eval()
    with torch.inference_mode():
        before = run.objective.loss(run.model, batch)
    run.model.train()
    loss = run.objective.loss(run.model, batch)
    loss.backward()

    assert float(loss.detach()) == pytest.approx(float(before), rel=1e-4)
    gradients = [
        each.grad for name, each in run.model.named_parameters() if "layer.0" in name and "lora_B" in name
    ]
    assert gradients
    assert all(each is not None and float(each.abs().sum()) > 0 for each in gradients)
