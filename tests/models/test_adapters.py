"""An adapter that is added to its base: the same answers as peft gives, and what does not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from llmkit.errors import ModelError
from llmkit.models.loading import LoadOptions, load_model
from llmkit.models.resolving import resolve_model

KINDS = {
    "lora": {},
    "rank-stabilized": {"use_rslora": True},
    "ranks and alphas of their own": {"rank_pattern": {"query": 4}, "alpha_pattern": {"query": 3}},
    "dora": {"use_dora": True},
    "biases too": {"bias": "all"},
}


@pytest.fixture
def base(tiny) -> Path:
    return tiny("text-classification")


def adapter_of(base: Path, folder: Path, auto=AutoModelForSequenceClassification, **settings) -> torch.Tensor:
    """Write an adapter with random weights as peft does; return peft's logits for IDS."""
    torch.manual_seed(0)
    head = {"modules_to_save": ["classifier"]} if auto is AutoModelForSequenceClassification else {}
    settings = {"target_modules": ["query", "value"], "r": 2, **head, **settings}
    adapted = get_peft_model(auto.from_pretrained(base), LoraConfig(**settings))
    with torch.no_grad():
        for name, each in adapted.named_parameters():
            if each.requires_grad and "magnitude" not in name:
                each.normal_(std=0.3)
    adapted.save_pretrained(folder)
    again = PeftModel.from_pretrained(auto.from_pretrained(base), folder)
    with torch.no_grad():
        return again.eval()(IDS).logits


IDS = torch.tensor([[2, 5, 6, 7, 3]])


def logits_of(name: Path | str, auto=AutoModelForSequenceClassification) -> torch.Tensor:
    model = load_model(resolve_model(str(name)), [auto], LoadOptions(device="cpu"), task="x", speed_up=False)
    with torch.no_grad():
        return model(IDS).logits


@pytest.mark.parametrize("kind", KINDS)
def test_it_answers_as_with_peft(base, tmp_path, kind):
    expected = adapter_of(base, tmp_path, **KINDS[kind])

    found = logits_of(tmp_path)

    assert not torch.allclose(expected, logits_of(base), atol=1e-3)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_of_a_model_that_keeps_its_weights_transposed(tiny, tmp_path):
    base = tiny("text-generation")
    targets = {"target_modules": ["c_attn", "c_fc"], "fan_in_fan_out": True}
    expected = adapter_of(base, tmp_path, AutoModelForCausalLM, **targets)

    torch.testing.assert_close(logits_of(tmp_path, AutoModelForCausalLM), expected, rtol=1e-4, atol=1e-4)


def test_the_head_says_how_many_classes_there_are(base, tmp_path):
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=7, ignore_mismatched_sizes=True
    )
    settings = LoraConfig(target_modules=["query"], r=2, modules_to_save=["classifier"])
    get_peft_model(model, settings).save_pretrained(tmp_path)

    assert logits_of(tmp_path).shape == (1, 7)


def test_the_weights_file_alone_names_it(base, tmp_path):
    adapter_of(base, tmp_path)

    assert torch.equal(logits_of(tmp_path / "adapter_model.safetensors"), logits_of(tmp_path))


def test_the_base_may_lie_beside_it(base, tmp_path):
    import shutil

    adapter_of(base, tmp_path / "adapter")
    shutil.copytree(base, tmp_path / "adapter" / "base")
    change(tmp_path / "adapter", base_model_name_or_path="base")

    assert resolve_model(str(tmp_path / "adapter")).location == str(tmp_path / "adapter" / "base")


def test_its_own_tokenizer_wins(base, tmp_path):
    adapter_of(base, tmp_path)
    found = resolve_model(str(tmp_path))
    assert found.beside == str(base)

    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path)

    assert found.beside == str(tmp_path)


def change(folder: Path, **values) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_where_the_base_was_looked_for(base, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    adapter_of(base, tmp_path)
    change(tmp_path, base_model_name_or_path=str(tmp_path / "gone"))

    with pytest.raises(ModelError, match=r"is for the model '.*gone', which is not to be had") as raised:
        resolve_model(str(tmp_path))
    assert str(tmp_path / "gone") in raised.value.hint


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"base_model_name_or_path": None}, "does not say which model it is for"),
        ({"peft_type": "IA3"}, "of a kind that llmkit does not add to a model: IA3"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa_niter_4"),
    ],
)
def test_an_adapter_that_cannot_be_added(base, tmp_path, values, says):
    adapter_of(base, tmp_path)
    change(tmp_path, **values)

    with pytest.raises(ModelError, match=says):
        logits_of(tmp_path)


def test_an_adapter_of_another_adapter(base, tmp_path):
    for name in ("one", "two"):
        adapter_of(base, tmp_path / name)
    change(tmp_path / "two", base_model_name_or_path=str(tmp_path / "one"))

    with pytest.raises(ModelError, match="is for another adapter"):
        resolve_model(str(tmp_path / "two"))


def test_of_another_model(base, tmp_path):
    adapter_of(base, tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    tensors = load_file(file)
    key = next(name for name in tensors if "lora_B" in name)
    save_file({**tensors, key: torch.zeros(9, 2)}, file)

    with pytest.raises(ModelError, match=r"is for another model: it has \(9, \d+\) for .*query\.weight"):
        logits_of(tmp_path)

    save_file({**tensors, "base_model.model.other_head.weight": torch.zeros(2)}, file)
    with pytest.raises(ModelError, match=r"is for another task, or another model: .*other_head\.weight"):
        logits_of(tmp_path)

    save_file({name: each for name, each in tensors.items() if "lora_A" not in name}, file)
    with pytest.raises(ModelError, match="half of what is for"):
        logits_of(tmp_path)

    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match="is cut off"):
        resolve_model(str(tmp_path))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"lora_alpha": "much"}, "lora_alpha is 'much', which is no number"),
        ({"lora_alpha": None}, "lora_alpha is None"),
        ({"alpha_pattern": ["query"]}, "alpha_pattern is not an object"),
        ({"alpha_pattern": {"(": 3}}, "a pattern that is none"),
        ({"alpha_pattern": {"([a-z.]+)+!": 3}}, "a pattern that is not tried"),
        ({"alpha_pattern": {".*a.*b.*c.*d": 3}}, "a pattern that is not tried"),
    ],
)
def test_settings_that_no_adapter_has(base, tmp_path, settings, said):
    adapter_of(base, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, **settings}))
    with pytest.raises(ModelError, match=said):
        logits_of(tmp_path)


@pytest.mark.parametrize("way", ["./a", "file", "other"])
def test_an_adapter_that_is_for_itself(base, tmp_path, monkeypatch, way):
    monkeypatch.chdir(tmp_path)
    adapter_of(base, tmp_path / "a")
    name = {"./a": "./a", "file": f"file://{tmp_path / 'a'}", "other": "./b"}[way]
    config = json.loads((tmp_path / "a/adapter_config.json").read_text())
    (tmp_path / "a/adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": name}))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b/adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "./a"}))
    with pytest.raises(ModelError, match="is for another adapter"):
        resolve_model("./a")
