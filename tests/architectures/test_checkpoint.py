"""Checkpoints held against the architecture: real models, saved by transformers and then changed."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from llmkit.architectures.checkpoint import ADAPTER, BUFFER, PACKED, check_checkpoint
from llmkit.architectures.count import count_parameters

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 99,
}


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    from transformers import BertConfig, BertForMaskedLM

    folder = tmp_path_factory.mktemp("bert")
    BertForMaskedLM(BertConfig(**SIZES)).save_pretrained(folder)
    return folder


def report_of(folder, location=None, head=None):
    counted = count_parameters(folder, head=head, use_cache=False).counted
    return check_checkpoint(counted, str(location or folder))


def changed(bert, tmp_path, change):
    tensors = load_file(bert / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    return report_of(bert, tmp_path / "model.safetensors", "masked-lm")


def test_a_checkpoint_that_is_the_architecture(bert):
    report = report_of(bert, head="masked-lm")
    assert report.agrees
    assert report.total == report.expected
    assert report.dtypes == {"F32": report.total}
    assert report.size == 4 * report.total


def test_the_bare_model_of_a_checkpoint_with_a_head(bert):
    report = report_of(bert)
    assert {each.name for each in report.missing} == {"pooler.dense.weight", "pooler.dense.bias"}
    assert report.extra
    assert all(each.name.startswith("cls.predictions") for each in report.extra)


def test_a_bare_checkpoint_held_against_a_head(bert, tmp_path):
    from transformers import BertModel

    BertModel.from_pretrained(bert, add_pooling_layer=False).save_pretrained(tmp_path)
    report = report_of(bert, tmp_path, "masked-lm")
    assert not report.extra
    assert all(each.name.startswith("cls.") for each in report.missing)


def test_a_tensor_of_one_layer_is_missing(bert, tmp_path):
    report = changed(bert, tmp_path, lambda tensors: tensors.pop("bert.encoder.layer.1.output.dense.bias"))
    (missing,) = report.missing
    assert (missing.name, missing.copies, missing.numbers) == (
        "bert.encoder.layer.*.output.dense.bias",
        1,
        32,
    )
    assert not report.agrees


def test_another_shape(bert, tmp_path):
    def change(tensors):
        tensors["bert.encoder.layer.1.output.dense.bias"] = torch.zeros(16)

    (reshaped,) = changed(bert, tmp_path, change).reshaped
    assert (reshaped.shape, reshaped.expected, reshaped.copies) == ((16,), (32,), 1)


def test_a_tied_tensor_that_is_kept_twice(bert, tmp_path):
    def change(tensors):
        table = tensors["bert.embeddings.word_embeddings.weight"]
        tensors["cls.predictions.decoder.weight"] = table.clone()

    report = changed(bert, tmp_path, change)
    (duplicate,) = report.duplicates
    assert duplicate.numbers == report.total - report.expected == 99 * 32


def test_a_tied_tensor_under_its_other_name(bert, tmp_path):
    def change(tensors):
        tensors["cls.predictions.decoder.weight"] = tensors.pop("bert.embeddings.word_embeddings.weight")

    assert changed(bert, tmp_path, change).agrees


def test_old_names_and_buffers(bert, tmp_path):
    def change(tensors):
        tensors["bert.embeddings.LayerNorm.gamma"] = tensors.pop("bert.embeddings.LayerNorm.weight")
        tensors["bert.embeddings.position_ids"] = torch.arange(512)[None]

    report = changed(bert, tmp_path, change)
    assert report.agrees
    assert [each.reason for each in report.extra] == [BUFFER]
    assert report.dtypes["I64"] == 512


@pytest.mark.parametrize("name", ["bert.encoder.layer.0.output.dense.qweight", "x.weight.absmax", "y.SCB"])
def test_packed_weights_are_said_to_be(name, bert, tmp_path):
    def change(tensors):
        tensors[name] = torch.zeros(8, dtype=torch.int32)

    report = changed(bert, tmp_path, change)
    assert report.kind == PACKED
    assert not report.agrees


def test_an_adapter_is_said_to_be(bert, tmp_path):
    save_file(
        {"base_model.model.bert.q.lora_A.weight": torch.zeros(2, 3)}, tmp_path / "adapter_model.safetensors"
    )
    assert report_of(bert, tmp_path).kind == ADAPTER


def test_experts_that_transformers_joins(tmp_path):
    from transformers import MixtralConfig, MixtralForCausalLM

    MixtralForCausalLM(MixtralConfig(**SIZES, num_key_value_heads=1, num_local_experts=4)).save_pretrained(
        tmp_path
    )
    assert any("experts.3.w1" in name for name in load_file(tmp_path / "model.safetensors"))
    report = report_of(tmp_path)
    assert report.agrees
    assert report.converted == 3 * 4 * 3  # layers, experts, matrices


def test_the_trap_of_flan_t5(tmp_path):
    """Its config ties what its checkpoint keeps apart: 24.7M parameters more in flan-t5-base."""
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(d_model=32, num_layers=2, num_heads=2, d_kv=16, d_ff=64, vocab_size=99)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["lm_head.weight"] = torch.zeros(99, 32)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    report = report_of(tmp_path)
    assert report.total - report.expected == 99 * 32
    assert [each.name for each in report.duplicates] == ["lm_head.weight"]
    loaded = T5ForConditionalGeneration.from_pretrained(tmp_path)
    assert report.total == sum(parameter.numel() for parameter in loaded.parameters())
