"""A model that two devices share: trained as one does it, gone on with by any number, whole at the end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml
from safetensors.torch import load_file

from llmkit.errors import UsageError
from llmkit.training.objectives import objective_class
from llmkit.training.sharding import check_sharding, layers_of
from tests.fixtures.command import Command
from tests.fixtures.ended import ended
from tests.launching.running import TWO, Launched, Tiny
from tests.training.rows import TRIALS
from tests.training.stepping import config_for

SHARDED = ("finetune", "run.yaml", *TWO, "--set", "sharding=fsdp")
DEEPSPEED = {"sharding": {"type": "deepspeed", "config": "zero.json"}}
# Softmax does not see it: its gradient is rounding alone, which AdamW makes as large as any other.
BY_ROUNDING = ".key.bias"
SLIGHTLY = {"rtol": 1e-5, "atol": 1e-6}


def write_config(folder: Path, tiny: Tiny, task: str, **sections: Any) -> None:
    """A run of six steps, the last of an epoch on one row: one of two devices has none in it."""
    sections = TRIALS[task].sections(tiny, folder) | sections
    sections["data"]["validation"] = sections["data"]["train"]
    training = {"epochs": 2, "batch_size": 3, "precision": "float32", "logging_steps": 1, "save_steps": 2}
    config = {"task": task, **sections, "training": training, "output": "out"}
    (folder / "run.yaml").write_text(yaml.safe_dump(config))


def figures(output: Path) -> list[tuple[str, float]]:
    """The losses and evaluations of a run, in turn."""
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return [(name, line[name]) for line in lines for name in ("loss", "eval_loss") if name in line]


def assert_same(folder: Path, name: str, whole: str = "whole") -> None:
    found, expected = figures(folder / name), figures(folder / whole)
    assert [each for each, _ in found] == [each for each, _ in expected]
    assert [value for _, value in found] == pytest.approx([value for _, value in expected], rel=1e-5)
    ours, theirs = (load_file(folder / each / "model.safetensors") for each in (name, whole))
    assert ours.keys() == theirs.keys()
    for key, tensor in theirs.items():
        if key.endswith(BY_ROUNDING):
            assert ours[key].shape == tensor.shape
            continue
        torch.testing.assert_close(ours[key], tensor, **SLIGHTLY)


@pytest.mark.parametrize("task", ["causal-lm", pytest.param("masked-lm", marks=pytest.mark.slow)])
def test_trained_as_one_process_does_and_gone_on_with_by_any_number(
    task: str, llmkit: Command, tiny: Tiny, tmp_path: Path
) -> None:
    write_config(tmp_path, tiny, task)
    environment = {"LLMKIT_CACHE": str(tmp_path / "cache")}
    alone = ("finetune", "run.yaml", "--device", "cpu", "--set")
    assert llmkit(*alone, "output=whole", cwd=tmp_path, env=environment).code == 0

    code, output, errors = Launched(tmp_path, *SHARDED).wait()

    assert (code, len(output.splitlines())) == (0, 1), errors
    assert_same(tmp_path, "out")
    newest = tmp_path / "out/checkpoints/step-00000006"
    assert {"__0_0.distcp", "__1_0.distcp", ".metadata", "manifest.json"} <= {
        path.name for path in newest.iterdir()
    }
    model = getattr(transformers, objective_class(task).heads[0]).from_pretrained(tmp_path / "out")
    assert not any(parameter.is_meta for parameter in model.parameters())

    for path in newest.iterdir():  # as if killed before it was written
        path.unlink()
    newest.rmdir()
    (tmp_path / "out").rename(tmp_path / "one")
    done = llmkit(*alone, "output=one", "--set", "sharding=fsdp", "--resume", cwd=tmp_path, env=environment)
    assert done.code == 0, done.stderr
    assert "going on after step 4." in done.stderr
    assert "resumed on 1 devices, begun on 2" in done.stderr
    assert_same(tmp_path, "one")


@pytest.mark.slow
def test_killed_it_goes_on_by_itself(llmkit: Command, tiny: Tiny, tmp_path: Path) -> None:
    write_config(tmp_path, tiny, "causal-lm")
    long = ("--set", "training.epochs=20")
    assert Launched(tmp_path, *SHARDED, *long, "--set", "output=whole").wait()[0] == 0
    run = Launched(tmp_path, *SHARDED, *long, "--max-restarts", "1")
    run.wait_for("out/checkpoints/step-00000004")
    run.kill(0)
    code, _, errors = run.wait()

    assert code == 0, errors
    assert re.search("going on after step", errors)
    with ended("kill of one of two processes that share a model"):
        ours, theirs = ((tmp_path / each / "model.safetensors").read_bytes() for each in ("out", "whole"))
        assert ours == theirs


@pytest.mark.slow
def test_an_adapter_over_it(llmkit: Command, tiny: Tiny, tmp_path: Path) -> None:
    write_config(tmp_path, tiny, "causal-lm", adapter={"type": "lora", "r": 4})
    environment = {"LLMKIT_CACHE": str(tmp_path / "cache")}
    alone = ("finetune", "run.yaml", "--device", "cpu", "--set", "output=whole")
    assert llmkit(*alone, cwd=tmp_path, env=environment).code == 0
    code, _, errors = Launched(tmp_path, *SHARDED).wait()

    assert code == 0, errors
    assert_same(tmp_path, "out")


@pytest.mark.parametrize(
    ("task", "sections", "said"),
    [
        ("seq2seq", {}, "task: seq2seq"),
        ("sentence-embedding", {}, "task: sentence-embedding"),
        ("preference", {}, "task: preference"),
        ("causal-lm", {"adapter": {"type": "qlora"}}, "adapter.type: qlora"),
        ("causal-lm", {"training": {"ema": 0.9}}, "training.ema"),
        ("causal-lm", {"training": {"compile": True}}, "training.compile"),
        (
            "causal-lm",
            {"model": {"dtype": "bfloat16"}} | DEEPSPEED,
            "sharding: deepspeed does not go with this: model",
        ),
    ],
)
def test_what_does_not_go_with_it(
    task: str, sections: dict[str, Any], said: str, tiny: Tiny, tmp_path: Path
) -> None:
    sections = {"sharding": "fsdp"} | sections
    config = config_for(task, tiny(TRIALS[task].start), tmp_path, "rows.jsonl", **sections)
    objective = objective_class(task)
    with pytest.raises(UsageError, match=re.escape(said)):
        check_sharding(config, objective)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["fill-mask", "conversational", "summarization"])
def test_the_layers_are_those_of_the_model(name: str, tiny: Tiny) -> None:
    model = transformers.AutoModel.from_pretrained(tiny(name))
    layers = list(layers_of(model))

    assert len({type(layer) for layer in layers}) in (1, 2), "an encoder's, a decoder's"
    assert len(layers) >= model.config.num_hidden_layers > 1
    assert all(re.search("Layer|Block", type(layer).__name__) for layer in layers)
