"""From a config.json to the model on the meta device: nothing allocated, and every mistake is one message."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from llmkit.architectures.building import MOST_MODULES, build, build_class, configure, find_class
from llmkit.errors import UsageError


def parameters(values, head=None):
    return sum(parameter.numel() for parameter in build(values, head).parameters())


def test_a_model_takes_no_memory():
    model = build({"model_type": "bert"})
    assert type(model).__name__ == "BertModel"
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"meta"}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_the_largest_llama_is_built_in_half_a_gigabyte():
    """Beyond what torch itself takes: a build for GPUs loads a gigabyte of libraries."""
    code = """
import torch
def said():
    # Not ru_maxrss: that begins with what the process it was forked from had.
    status = dict(line.split(":") for line in open("/proc/self/status"))
    return int(status["VmHWM"].split()[0]) * 1024
before = said()
from llmkit.architectures.building import build
sizes = {"hidden_size": 16384, "num_hidden_layers": 126, "num_attention_heads": 128, "num_key_value_heads": 8}
rest = {"intermediate_size": 53248, "vocab_size": 128256}
model = build({"model_type": "llama", "tie_word_embeddings": False, **sizes, **rest})
print(sum(parameter.numel() for parameter in model.parameters()))
print(said() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, peak = map(int, done.stdout.split())
    assert count == 405_853_388_800
    assert peak < 500_000_000


@pytest.mark.parametrize(
    ("model_type", "output", "embedding"),
    [
        ("gpt2", "lm_head.weight", "transformer.wte.weight"),
        ("t5", "lm_head.weight", "decoder.embed_tokens.weight"),
        ("bart", "lm_head.weight", "model.encoder.embed_tokens.weight"),
    ],
)
def test_tied_weights_are_one_tensor(model_type, output, embedding):
    model = build({"model_type": model_type})
    assert model.get_parameter(output) is model.get_parameter(embedding)


def test_untied_weights_are_two():
    model = build({"model_type": "gpt2", "tie_word_embeddings": False})
    assert model.get_parameter("lm_head.weight") is not model.get_parameter("transformer.wte.weight")


def test_the_config_is_left_as_it_is():
    config = configure({"model_type": "llava"})
    before = config.to_dict()
    build_class(find_class(config, "image-text-to-text"), config)
    assert config.to_dict() == before


def test_the_values_are_left_as_they_are():
    values = {"model_type": "clip", "text_config": {"hidden_size": 512}, "dtype": "bfloat16"}
    configure(values)
    assert values == {"model_type": "clip", "text_config": {"hidden_size": 512}, "dtype": "bfloat16"}


def test_the_process_is_left_as_it_was():
    from transformers.utils import logging

    before = logging.get_verbosity()
    build({"model_type": "bert"})
    assert logging.get_verbosity() == before
    assert torch.empty(1).device.type == "cpu"
    assert torch.nn.Linear(2, 2).weight.abs().sum() > 0


@pytest.mark.parametrize(
    "how_it_is_stored",
    [
        {"dtype": "nonsense"},
        {"torch_dtype": "float16"},
        {"attn_implementation": "flash_attention_2"},
        {"_attn_implementation": "flash_attention_2"},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
        {"auto_map": {"AutoConfig": "code.MyConfig"}},
    ],
    ids=lambda each: next(iter(each)),
)
def test_how_a_checkpoint_is_stored_does_not_matter(how_it_is_stored):
    assert parameters({"model_type": "bert"} | how_it_is_stored) == 109_482_240


def test_a_value_goes_by_the_name_of_every_family():
    assert parameters({"model_type": "gpt2", "hidden_size": 1024, "num_attention_heads": 16}) == parameters(
        {"model_type": "gpt2", "n_embd": 1024, "n_head": 16}
    )


def test_a_part_of_a_multimodal_config():
    """Qwen 3.5's language model is made of the text config inside the whole's."""
    model = build({"model_type": "qwen3_5"}, "causal-lm")
    assert type(model.config).__name__ == "Qwen3_5TextConfig"


WRONG = {
    "no model type": ({}, "model_type"),
    "unknown model type": ({"model_type": "brt"}, "bert"),
    "code of its own": ({"model_type": "chatglm", "auto_map": {"AutoConfig": "x.Y"}}, "chatglm"),
    "heads": ({"model_type": "bert", "num_attention_heads": 13}, "num_attention_heads (13)"),
    "heads in another family's words": ({"model_type": "gpt2", "n_head": 7}, "n_head (7)"),
    "heads of a decoder": ({"model_type": "bart", "decoder_attention_heads": 7}, "decoder_attention_heads"),
    "heads that transformers checks": ({"model_type": "llama", "num_attention_heads": 30}, "30"),
    "heads of a nested config": ({"model_type": "clip", "text_config": {"num_attention_heads": 7}}, "7"),
    "key and value heads": ({"model_type": "llama", "num_key_value_heads": 5}, "num_key_value_heads (5)"),
    "no layers": ({"model_type": "bert", "num_hidden_layers": 0}, "num_hidden_layers is 0"),
    "no layers in another family's words": ({"model_type": "gpt2", "n_layer": 0}, "n_layer is 0"),
    "negative layers": ({"model_type": "bert", "num_hidden_layers": -2}, "-2"),
    "negative layers of a nested config": (
        {"model_type": "clip", "vision_config": {"num_hidden_layers": -2}},
        "vision_config.num_hidden_layers",
    ),
    "negative vocabulary": ({"model_type": "bert", "vocab_size": -5}, "vocab_size"),
    "a fraction": ({"model_type": "bert", "hidden_size": 768.5}, "whole number"),
    "infinity": ({"model_type": "bert", "hidden_size": float("inf")}, "whole number"),
    "a text": ({"model_type": "bert", "hidden_size": "768"}, "hidden_size"),
    "a truth value": ({"model_type": "bert", "hidden_size": True}, "hidden_size"),
    "10^12 layers": ({"model_type": "bert", "num_hidden_layers": 10**12}, "1,000,000,000,000"),
    "10^12 layers of GPT-2": ({"model_type": "gpt2", "n_layer": 10**12}, "1,000,000,000,000"),
    "10^12 layers of a decoder": ({"model_type": "bart", "decoder_layers": 10**12}, "decoder_layers"),
    "10^12 layers in a stage": ({"model_type": "swin", "depths": [2, 10**12, 6, 2]}, "depths"),
    "10^12 labels": ({"model_type": "bert", "num_labels": 10**12}, "num_labels"),
    "10^12 experts": ({"model_type": "mixtral", "num_local_experts": 10**12}, "num_local_experts"),
    "more than a tensor can hold": (
        {"model_type": "bert", "hidden_size": 10**12, "vocab_size": 10**12, "num_attention_heads": 1},
        "hidden_size is 1,000,000,000,000",
    ),
    "a width that overflows": ({"model_type": "bert", "hidden_size": 12 * 10**9}, "up to 10,000,000"),
    "a vocabulary that overflows": ({"model_type": "bert", "vocab_size": 10**20 - 1}, "up to 1,000,000,000"),
    "a negative picture": (
        {"model_type": "vit", "image_size": -224},
        "image_size is -224: it should be 1 or more",
    ),
    "patches of nothing": ({"model_type": "vit", "patch_size": 0}, "patch_size is 0: it should be 1 or more"),
    "more experts than there are": (
        {"model_type": "mixtral", "num_experts_per_tok": 9},
        "num_experts_per_tok is 9: a token meets at most all experts, and num_local_experts is 8",
    ),
    "fewer experts than one": (
        {"model_type": "mixtral", "num_experts_per_tok": -1},
        "num_experts_per_tok is -1: it should be 1 or more",
    ),
    "no experts": ({"model_type": "mixtral", "num_local_experts": 0}, "num_local_experts is 0"),
    "unknown activation": ({"model_type": "bert", "hidden_act": "nonsense"}, "hidden_act is 'nonsense'"),
    "mistyped activation": ({"model_type": "bert", "hidden_act": "gleu"}, "did you mean gelu?"),
    "a nested config that is none": ({"model_type": "clip", "text_config": 5}, "text_config"),
    "missing library": ({"model_type": "layoutlmv2"}, "detectron2"),
    "missing value": ({"model_type": "time_series_transformer"}, "prediction_length"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_one_message(case):
    values, named = WRONG[case]
    with pytest.raises(UsageError) as caught:
        build(values)
    assert named in f"{caught.value.message} {caught.value.hint}"
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 450


@pytest.mark.parametrize(
    "values",
    [
        {"model_type": "t5", "num_heads": 7},
        {"model_type": "mistral", "num_attention_heads": 24, "head_dim": 128, "hidden_size": 4096},
        {"model_type": "gpt_oss"},
        {"model_type": "glm4_moe"},
    ],
    ids=[
        "a size of heads by default",
        "a size of heads that is given",
        "64 heads in 2,880",
        "its own default",
    ],
)
def test_heads_that_need_not_divide(values):
    assert parameters(values) > 0


def test_a_model_of_endless_modules_is_stopped(monkeypatch):
    monkeypatch.setattr("llmkit.architectures.building.MOST_MODULES", 1_000)
    with pytest.raises(UsageError, match="1,000 modules"):
        build({"model_type": "switch_transformers", "num_experts": 5_000})
    assert MOST_MODULES > 1_000
    assert parameters({"model_type": "bert"}) == 109_482_240  # what counted the modules is gone
