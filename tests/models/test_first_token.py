"""A classifier whose last layer computes the first token alone gives what transformers' own gives."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoModelForTokenClassification

from llmkit.models import cpu_attention, native_attention
from llmkit.models.cpu_attention import speed_up_attention
from llmkit.models.first_token import _PARTS, keep_first_token

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "dim": 16,
    "num_hidden_layers": 3,
    "n_layers": 3,
    "num_attention_heads": 2,
    "n_heads": 2,
    "intermediate_size": 32,
    "hidden_dim": 32,
    "embedding_size": 16,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
}
MORE = {"deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "conv_kernel_size": 3}}


def build(kind: str, auto=AutoModelForSequenceClassification, **more):
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SIZES, **MORE.get(kind, {}), **more})
    return auto.from_config(config).eval()


def a_batch():
    """Three texts of different lengths, padded."""
    ids = torch.randint(3, 50, (3, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    for row, length in enumerate((9, 4, 1)):
        ids[row, length:], mask[row, length:] = 0, 0
    return {"input_ids": ids, "attention_mask": mask}


def computed(model) -> int:
    """Return how many products of two numbers the model takes for the batch, those of the attention included."""
    with FlopCounterMode(display=False) as counted:
        model(**a_batch())
    return counted.get_total_flops() // 2


@pytest.mark.parametrize("kind", sorted(_PARTS))
def test_the_scores_are_the_same_and_less_is_computed(kind):
    model = build(kind)
    wanted, before = model(**a_batch()).logits, computed(model)

    assert keep_first_token(model) and keep_first_token(model)

    torch.testing.assert_close(model(**a_batch()).logits, wanted, rtol=1e-5, atol=1e-6)
    less = (before - computed(model)) / (3 * 8)  # a token that is not computed
    parts = _PARTS[kind]
    is_before_output = parts.after_attention == "attention.output"  # the projection of the heads' results
    assert less >= 2 * 16 * 32 + (bool(parts.query) + is_before_output) * 16 * 16


@pytest.mark.parametrize("kind", sorted(kind for kind, parts in _PARTS.items() if parts.query))
def test_attention_of_our_own_looks_from_the_first_token(native, kind, monkeypatch):
    model = build(kind, hidden_size=32, dim=32)
    wanted = model(**a_batch()).logits
    looking = []
    monkeypatch.setattr(
        cpu_attention,
        "attend",
        lambda *inputs: looking.append(inputs[3][:, 1].tolist()) or native_attention.attend(*inputs),
    )

    is_ours = speed_up_attention(model)
    assert keep_first_token(model)

    with torch.inference_mode():
        torch.testing.assert_close(model(**a_batch()).logits, wanted, rtol=1e-5, atol=1e-6)
    assert looking == ([[9] * 3, [9] * 3, [1] * 3] if is_ours else [])
    assert is_ours or kind == "mpnet"  # whose attention is its own


def test_others_are_left_alone():
    assert not keep_first_token(build("bert", AutoModelForTokenClassification))
    assert not keep_first_token(build("bert", chunk_size_feed_forward=3))
    gpt2 = AutoConfig.for_model("gpt2", vocab_size=50, n_embd=16, n_layer=1, n_head=2)
    assert not keep_first_token(AutoModelForSequenceClassification.from_config(gpt2))
