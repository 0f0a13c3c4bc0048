"""Components: each tensor of real models in the row where a reader looks for it."""

from __future__ import annotations

from functools import cache

import pytest

from llmkit.architectures import components
from llmkit.architectures.components import component_of
from llmkit.architectures.counting import count_architecture


@cache
def _totals(model_type):
    totals = {}
    for tensor in count_architecture({"model_type": model_type}, formulas=False).tensors:
        totals[tensor.component] = totals.get(tensor.component, 0) + tensor.total
    return totals


BERT = {
    "token embeddings": 30522 * 768,
    "position embeddings": 512 * 768,
    "segment embeddings": 2 * 768,
    "embedding norm": 2 * 768,
    "attention": 12 * 4 * (768 * 768 + 768),
    "feed-forward": 12 * (2 * 768 * 3072 + 3072 + 768),
    "layer norms": 12 * 4 * 768,
    "pooler": 768 * 768 + 768,
}


def test_bert_whole():
    assert _totals("bert") == BERT


# Worked out by hand from the config's defaults: the parts that are told apart by name alone.
@pytest.mark.parametrize(
    ("model_type", "component", "total"),
    [
        ("gpt2", "attention", 12 * (768 * 2304 + 2304 + 768 * 768 + 768)),
        ("gpt2", "feed-forward", 12 * (2 * 768 * 3072 + 3072 + 768)),
        ("gpt2", "final norm", 2 * 768),
        ("gptj", "feed-forward", 28 * (2 * 4096 * 16384 + 16384 + 4096)),
        ("llama", "feed-forward", 32 * 3 * 4096 * 11008),
        ("llama", "output layer", 32000 * 4096),
        ("t5", "cross-attention", 6 * 4 * 512 * 512),
        ("t5", "relative position bias", 2 * 32 * 8),
        ("bart", "cross-attention", 12 * 4 * (1024 * 1024 + 1024)),
        ("bart", "embedding norm", 2 * 2 * 1024),
        ("whisper", "convolution", 3 * 80 * 384 + 384 + 3 * 384 * 384 + 384),
        ("vit", "patch embedding", 768 * 3 * 16 * 16 + 768),
        ("vit", "learned tokens", 768),
        ("swin", "relative position bias", 169 * (2 * 3 + 2 * 6 + 6 * 12 + 2 * 24)),
        ("clip", "projection", 512 * 512 + 768 * 512),
        ("llava", "projection", 1024 * 4096 + 4096 + 4096 * 4096 + 4096),
        ("mixtral", "experts", 32 * 8 * 3 * 4096 * 14336),
        ("mixtral", "router", 32 * 8 * 4096),
        ("deepseek_v3", "shared experts", 58 * 3 * 7168 * 2048),
        ("deepseek_v3", "feed-forward", 3 * 3 * 7168 * 18432),
        ("albert", "embedding projection", 128 * 4096 + 4096),
        ("mamba", "state-space mixer", 120_668_160),
        ("jamba", "attention", 4 * (2 * 4096 * 4096 + 2 * 4096 * 1024)),
        ("wav2vec2", "position embeddings", 768 * 48 * 128 + 128 + 768),
        ("dinov2", "layer scale", 12 * 2 * 768),
        ("perceiver", "learned tokens", 256 * 1280),
        ("opt", "position embeddings", (2048 + 2) * 768),
    ],
)
def test_parts(model_type, component, total):
    assert _totals(model_type)[component] == total


NAMED = {value for name, value in vars(components).items() if name.isupper() and isinstance(value, str)}
# Also detr, xlm and the like: what the rules do not know must stay small.
MANY = """
bert gpt2 gptj llama t5 bart whisper vit swin clip blip llava mamba mixtral deepseek_v3 albert
deberta-v2 bloom falcon opt wav2vec2 convnext modernbert qwen3 gemma3 switch_transformers xlnet
funnel longformer perceiver resnet sam rwkv jamba
"""


@pytest.mark.parametrize("model_type", MANY.split())
def test_little_is_called_by_its_own_name(model_type):
    totals = _totals(model_type)
    unknown = sum(total for component, total in totals.items() if component not in NAMED)
    assert unknown < 0.01 * sum(totals.values())


@pytest.mark.parametrize(
    ("name", "module_class", "component"),
    [
        ("encoder.layer.*.attention.output.LayerNorm.weight", "LayerNorm", "layer norms"),
        ("encoder.layer.3.output.dense.weight", "Linear", "feed-forward"),
        ("encoder.layer.*.attention.output.dense.weight", "Linear", "attention"),
        ("model.layers.*.self_attn.q_norm.weight", "Qwen3RMSNorm", "attention"),
        ("model.layers.{0-2}.mlp.gate_proj.weight", "Linear", "feed-forward"),
        ("model.layers.*.mlp.gate.weight", "Qwen3MoeTopKRouter", "router"),
        ("model.layers.*.mlp.experts.*.w1.weight", "Linear", "experts"),
        ("model.norm.weight", "LlamaRMSNorm", "final norm"),
        ("cls.predictions.transform.dense.weight", "Linear", "output layer"),
        ("lm_head.weight", "Linear", "output layer"),
        ("classifier.weight", "Linear", "classifier"),
        ("qa_outputs.weight", "Linear", "classifier"),
        ("something_new.weight", "Strange", "something new"),
        ("scale", "Strange", "scale"),
    ],
)
def test_single_names(name, module_class, component):
    assert component_of(name, module_class, 2) == component
