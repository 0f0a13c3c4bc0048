"""`llmkit.count_parameters`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import llmkit
from llmkit.data.cache_folder import cache_folder
from llmkit.errors import UsageError
from tests.architectures.test_naming import write_config

TINY = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 50,
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))


def total_of(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def tiny_bert():
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(**TINY))


def test_by_name_and_the_published_figure():
    count = llmkit.count_parameters("bert-base")
    assert count.total == 109_482_240
    assert count.is_as_published
    assert sum(row.total for row in count.rows) == count.total
    assert not llmkit.count_parameters("bert-base", head="masked-lm").is_as_published


def test_a_config_a_path_and_a_model_are_counted_alike(tmp_path):
    model = tiny_bert()
    folder = write_config(tmp_path / "model", **TINY)
    counts = [
        llmkit.count_parameters({"model_type": "bert", **TINY}),
        llmkit.count_parameters(str(folder)),
        llmkit.count_parameters(folder),
        llmkit.count_parameters(Path(folder, "config.json")),
        llmkit.count_parameters(type="bert", set=TINY),
        llmkit.count_parameters(model),
    ]
    assert {count.total for count in counts} == {total_of(model)}


def test_a_model_is_counted_as_it_is():
    model = tiny_bert()
    model.encoder.layer = model.encoder.layer[:1]
    assert llmkit.count_parameters(model).total == total_of(model)
    with pytest.raises(UsageError, match="its head"):
        llmkit.count_parameters(model, head="masked-lm")


def test_the_head_and_the_adapters():
    from transformers import BertConfig, BertForSequenceClassification

    count = llmkit.count_parameters(
        {"model_type": "bert", **TINY}, set={"num_labels": 7}, head="sequence-classification", lora="r=2"
    )
    model = BertForSequenceClassification(BertConfig(**TINY, num_labels=7))
    assert count.counted.total == total_of(model)
    # query and value of both layers, r × (in + out) each
    assert count.trainable == 2 * 2 * 2 * (8 + 8)
    assert count.total == total_of(model) + count.trainable


def test_settings_go_by_any_of_a_configs_names():
    by_common = llmkit.count_parameters("gpt2", set={"num_hidden_layers": 2})
    by_own = llmkit.count_parameters("gpt2", set={"n_layer": 2})
    assert by_common.total == by_own.total < 124_439_808
    assert not by_common.is_as_published


def test_settings_may_mend_a_config():
    values = {"model_type": "bert", **TINY, "num_attention_heads": 3}
    assert llmkit.count_parameters(values, set={"num_attention_heads": 2}).total == total_of(tiny_bert())
    del values["model_type"]
    with pytest.raises(UsageError, match="no model_type"):
        llmkit.count_parameters(values)
    mended = llmkit.count_parameters(values, set={"num_attention_heads": 2, "model_type": "bert"})
    assert mended.total == total_of(tiny_bert())


def test_the_second_time_it_is_read(monkeypatch):
    values = {"model_type": "bert", **TINY}
    first = llmkit.count_parameters(values)
    monkeypatch.setattr(
        "llmkit.architectures.count._count_anew", lambda *arguments: pytest.fail("counted again")
    )
    again = llmkit.count_parameters(values)
    assert again.counted == first.counted
    assert again.to_json() == first.to_json()
    with pytest.raises(pytest.fail.Exception):
        llmkit.count_parameters(values, use_cache=False)
    with pytest.raises(pytest.fail.Exception):
        llmkit.count_parameters(values, head="masked-lm")


def test_without_the_cache_nothing_is_kept():
    llmkit.count_parameters({"model_type": "bert", **TINY}, use_cache=False)
    assert not cache_folder().exists()


def test_all_of_it_is_json():
    count = llmkit.count_parameters("t5-small")
    values = json.loads(json.dumps(count.to_json()))
    assert values["total"] == 60_506_624 == sum(tensor["total"] for tensor in values["tensors"])
    assert values["total"] == sum(row["total"] for row in values["components"]) == values["tree"]["total"]
    assert values["tied"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"model": "bert-base", "head": "maskedlm"}, "did you mean masked-lm"),
        ({"model": 5}, "a model is"),
        ({}, "name a model"),
        ({"model": "bert-base", "lora": "r=0"}, "r should be"),
    ],
)
def test_what_cannot_be_counted(call, said):
    with pytest.raises(UsageError, match=said):
        llmkit.count_parameters(**call)
