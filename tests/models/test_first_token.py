"""A classifier whose last layer computes the first token alone gives what transformers' own gives."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoModelForTokenClassification

from llmkit.models.first_token import _AFTER_ATTENTION, keep_first_token

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
    config = AutoConfig.for_model(kind, **SIZES, **MORE.get(kind, {}), **more)
    return auto.from_config(config).eval()


def a_batch():
    """Three texts of different lengths, padded."""
    ids = torch.randint(3, 50, (3, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    for row, length in enumerate((9, 4, 1)):
        ids[row, length:], mask[row, length:] = 0, 0
    return {"input_ids": ids, "attention_mask": mask}


def computed(model) -> int:
    """Return how many numbers the linear layers of a model give for the batch."""
    counts = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: counts.append(output.numel()))
        for module in model.modules()
        if isinstance(module, torch.nn.Linear)
    ]
    model(**a_batch())
    for hook in hooks:
        hook.remove()
    return sum(counts)


@pytest.mark.parametrize("kind", sorted(_AFTER_ATTENTION))
def test_the_scores_are_the_same_and_less_is_computed(kind):
    model = build(kind)
    wanted, before = model(**a_batch()).logits, computed(model)

    assert keep_first_token(model) and keep_first_token(model)

    torch.testing.assert_close(model(**a_batch()).logits, wanted, rtol=1e-5, atol=1e-6)
    less = (before - computed(model)) / (3 * 8)  # a token that is not computed
    assert less >= 16 + 32


def test_others_are_left_alone():
    assert not keep_first_token(build("bert", AutoModelForTokenClassification))
    assert not keep_first_token(build("bert", chunk_size_feed_forward=3))
    gpt2 = AutoConfig.for_model("gpt2", vocab_size=50, n_embd=16, n_layer=1, n_head=2)
    assert not keep_first_token(AutoModelForSequenceClassification.from_config(gpt2))
