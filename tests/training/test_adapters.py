"""Adapters: what is trained, the plain model that they end in, and targets that are not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

from llmkit.errors import UsageError
from llmkit.models.loading import LoadOptions, load_model, load_to_train
from llmkit.models.resolved import ResolvedModel
from llmkit.models.resolving import resolve_model
from llmkit.training.adapters import add_adapter, merged, save_adapter
from llmkit.training.config import AdapterSection


@pytest.fixture
def model(tiny: Callable[[str], Path]) -> Any:
    return AutoModelForSequenceClassification.from_pretrained(tiny("text-classification"))


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_the_adapter_and_a_new_head_are_trained_and_nothing_else(
    model: Any, kind: Literal["lora", "dora"]
) -> None:
    adapted = add_adapter(model, AdapterSection(type=kind, r=2), new_head=True)

    trained = [name for name, each in adapted.named_parameters() if each.requires_grad]

    assert trained
    assert all("lora" in name or "classifier" in name for name in trained)
    assert any("classifier" in name for name in trained)
    assert any("lora" in name for name in trained)


def test_merged_it_is_a_plain_model_with_the_same_answers(model: Any) -> None:
    names = set(model.state_dict())
    adapted = add_adapter(model, AdapterSection(r=2), new_head=True)
    with torch.no_grad():
        for name, each in adapted.named_parameters():
            if "lora_B" in name:
                each.normal_(generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[2, 5, 6, 3]])
    before = adapted.eval()(ids).logits

    plain = merged(adapted)

    assert set(plain.state_dict()) == names
    torch.testing.assert_close(plain(ids).logits, before, rtol=1e-4, atol=1e-5)


def test_a_target_that_is_not_there_is_named_with_the_nearest(model: Any) -> None:
    with pytest.raises(UsageError, match=r"adapter\.targets: the model has no module 'quary'") as caught:
        add_adapter(model, AdapterSection(targets=["quary"]), new_head=True)

    assert caught.value.hint == "did you mean query?"


def test_a_new_head_that_shares_its_embeddings_is_trained(
    tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    """A masked-LM head on an encoder without one: its own layers are trained and kept, the embeddings are not."""
    heads = [AutoModelForMaskedLM]
    base = ResolvedModel("tiny", str(tiny("feature-extraction")))
    model, new = load_to_train(base, heads, LoadOptions(device="cpu"), task="masked-lm")
    settings = AdapterSection(r=2, targets=["query"])
    adapted = add_adapter(model, settings, new_head=False, new=new, base=base.location)

    trained = {
        name.removeprefix("base_model.model.")
        for name, each in adapted.named_parameters()
        if each.requires_grad
    }
    assert "cls.predictions.bias" in trained and "cls.predictions.transform.dense.weight" in trained
    assert not [name for name in trained if "embeddings" in name or "decoder" in name]
    with torch.no_grad():
        for each in adapted.parameters():
            if each.requires_grad:
                each.normal_(std=0.2, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[2, 5, 6, 3]])
    before = adapted.eval()(ids).logits
    save_adapter(adapted, tmp_path)

    again = load_model(
        resolve_model(str(tmp_path)), heads, LoadOptions(device="cpu"), task="fill-mask", speed_up=False
    )

    torch.testing.assert_close(again(ids).logits, before, rtol=1e-4, atol=1e-4)


def test_no_hub_is_asked_when_an_adapter_is_written(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short name such as minilm is no folder: peft would look for it on the hub."""
    asked: list[str] = []
    monkeypatch.setattr(
        "peft.utils.save_and_load.check_file_exists_on_hf_hub",
        lambda repository, *_, **__: asked.append(repository),
    )
    adapted = add_adapter(model, AdapterSection(r=2, targets=["query"]), new_head=True, base="minilm")

    save_adapter(adapted, tmp_path)

    assert asked == [] and (tmp_path / "adapter_model.safetensors").exists()
