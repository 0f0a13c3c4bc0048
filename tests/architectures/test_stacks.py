"""The stacks of layers: under one name for every family, what memory and compute follow from."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from llmkit.architectures.building import configure
from llmkit.architectures.catalogue import find
from llmkit.architectures.counting import count_architecture
from llmkit.architectures.stacks import vocabulary_of


def stacks(values):
    return {stack.name: stack for stack in count_architecture(values, formulas=False).stacks}


def only(values):
    (stack,) = stacks(values).values()
    return stack


def holds(stack, **facts):
    return {name: value for name, value in asdict(stack).items() if name in facts} == facts


def test_bert():
    assert holds(
        only({"model_type": "bert"}),
        name="encoder.layer",
        layers=12,
        attention_layers=12,
        hidden_size=768,
        intermediate_size=3072,
        heads=12,
        key_value_heads=12,
        head_size=64,
        value_head_size=64,
        window=None,
        windowed_layers=0,
        latent_size=None,
        is_causal=False,
        is_cross=False,
    )


@pytest.mark.parametrize(
    ("values", "facts"),
    [
        ({"model_type": "gpt2"}, {"heads": 12, "intermediate_size": 3072, "is_causal": True}),
        ({"model_type": "llama"}, {"intermediate_size": 11008, "head_size": 128, "is_causal": True}),
        (
            {"model_type": "bloom"},
            {"hidden_size": 64, "heads": 8, "intermediate_size": 256, "is_causal": True},
        ),
        ({"model_type": "phi3"}, {"intermediate_size": 8192, "heads": 32}),  # gate and up in one matrix
        ({"model_type": "modernbert"}, {"intermediate_size": 1152, "hidden_size": 768}),
        ({"model_type": "albert"}, {"layers": 12, "hidden_size": 4096, "heads": 64}),
        ({"model_type": "vit"}, {"heads": 12, "intermediate_size": 3072, "is_causal": False}),
        ({"model_type": "gemma"}, {"head_size": 256, "hidden_size": 3072, "heads": 16}),
        ({"model_type": "fnet"}, {"layers": 12, "attention_layers": 0, "heads": 0}),
    ],
    ids=lambda each: each.get("model_type"),
)
def test_the_words_of_every_family(values, facts):
    assert holds(only(values), **facts)


@pytest.mark.parametrize(
    ("values", "heads"),
    [
        (dict(find("llama-3-8b").config), 8),
        ({"model_type": "falcon"}, 1),
        ({"model_type": "falcon", "new_decoder_architecture": True, "num_kv_heads": 71}, 71),
        ({"model_type": "gpt_bigcode"}, 1),
        ({"model_type": "gpt_bigcode", "multi_query": False}, 12),
    ],
    ids=["grouped", "multi-query", "Falcon with all", "StarCoder", "StarCoder with all"],
)
def test_heads_of_keys_and_values(values, heads):
    assert only(values).key_value_heads == heads


@pytest.mark.parametrize(
    ("values", "width"),
    [
        ({"model_type": "mixtral"}, 2 * 14_336),
        ({"model_type": "deepseek_v3"}, (8 + 1) * 2048),  # 8 routed, 1 shared
        ({"model_type": "gpt_oss"}, 4 * 2880),
        ({"model_type": "jamba"}, 2 * 14_336),
    ],
    ids=lambda each: each.get("model_type") if isinstance(each, dict) else "",
)
def test_the_experts_of_a_token_lie_side_by_side(values, width):
    assert only(values).intermediate_size == width


@pytest.mark.parametrize("model_type", ["t5", "bart", "whisper", "marian"])
def test_an_encoder_and_a_decoder(model_type):
    encoder, decoder = stacks({"model_type": model_type}).values()
    assert (encoder.is_causal, encoder.is_cross) == (False, False)
    assert (decoder.is_causal, decoder.is_cross) == (True, True)


def test_two_sides_of_different_sizes():
    sides = {"encoder_attention_heads": 8, "decoder_attention_heads": 4, "decoder_ffn_dim": 512}
    encoder, decoder = stacks(
        {"model_type": "bart", "d_model": 256, "encoder_ffn_dim": 1024, "decoder_layers": 3, **sides}
    ).values()
    assert (encoder.layers, encoder.heads, encoder.intermediate_size) == (12, 8, 1024)
    assert (decoder.layers, decoder.heads, decoder.intermediate_size) == (3, 4, 512)


def test_the_parts_of_a_multimodal_model():
    vision, language = stacks({"model_type": "llava"}).values()
    assert (vision.layers, vision.hidden_size, vision.is_causal) == (24, 1024, False)
    assert (language.layers, language.hidden_size, language.is_causal) == (32, 4096, True)


def test_latent_attention_caches_the_latent_and_the_rotary_key():
    stack = only({"model_type": "deepseek_v3"})
    assert holds(stack, latent_size=512 + 64, head_size=128 + 64, value_head_size=128, heads=128)


@pytest.mark.parametrize(
    ("values", "layers", "attention_layers"),
    [
        ({"model_type": "mamba"}, 32, 0),
        ({"model_type": "rwkv", "num_hidden_layers": 6}, 6, 0),
        ({"model_type": "jamba"}, 32, 4),
        ({"model_type": "recurrent_gemma"}, 26, 8),
        ({"model_type": "qwen3_next"}, 48, 12),
        (
            {"model_type": "lfm2", "num_hidden_layers": 3, "layer_types": ["conv", "full_attention", "conv"]},
            3,
            1,
        ),
    ],
    ids=lambda each: each.get("model_type") if isinstance(each, dict) else "",
)
def test_layers_that_keep_no_context(values, layers, attention_layers):
    stack = only(values)
    assert (stack.layers, stack.attention_layers, stack.is_causal) == (layers, attention_layers, True)


@pytest.mark.parametrize(
    ("values", "window", "layers"),
    [
        (dict(find("mistral-7b").config), 4096, 32),
        ({"model_type": "mistral", "sliding_window": None}, None, 0),
        ({"model_type": "gemma2"}, 4096, 13),
        ({"model_type": "gpt_neo"}, 256, 12),
        ({"model_type": "gpt_oss"}, 128, 18),
        ({"model_type": "modernbert"}, 64, 14),
        ({"model_type": "qwen2"}, None, 0),
        ({"model_type": "qwen2", "use_sliding_window": True, "max_window_layers": 20}, 4096, 12),
        ({"model_type": "longformer"}, 256, 12),
        ({"model_type": "llama"}, None, 0),
    ],
    ids=lambda each: each.get("model_type") if isinstance(each, dict) else "",
)
def test_windows(values, window, layers):
    assert holds(only(values), window=window, windowed_layers=layers)


def test_stages_are_a_stack_each():
    assert [
        (each.layers, each.hidden_size, each.heads) for each in stacks({"model_type": "swin"}).values()
    ] == [
        (2, 96, 3),
        (2, 192, 6),
        (6, 384, 12),
        (2, 768, 24),
    ]


def test_a_model_without_any():
    assert stacks({"model_type": "resnet"}) == {}


@pytest.mark.parametrize(
    ("values", "context"),
    [
        ({"model_type": "bert"}, 512),
        ({"model_type": "gpt2"}, 1024),
        (
            dict(find("roberta-base").config),
            512,
        ),  # 514 rows, of which the padding's and that before it are none
        ({"model_type": "bart"}, 1024),
        ({"model_type": "t5"}, None),
        (dict(find("bloom-560m").config), None),
        ({"model_type": "mamba"}, None),
        ({"model_type": "whisper"}, 448),
        ({"model_type": "llava"}, 2048),
        ({"model_type": "vit"}, None),
    ],
    ids=lambda each: each.get("model_type") if isinstance(each, dict) else "",
)
def test_the_context(values, context):
    assert count_architecture(values, formulas=False).context == context


@pytest.mark.parametrize(
    ("model_type", "tokens"), [("bert", 30_522), ("llava", 32_000), ("vit", 0), ("wav2vec2", 32)]
)
def test_the_vocabulary(model_type, tokens):
    assert vocabulary_of(configure({"model_type": model_type})) == tokens
