"""Texts in one row, where a model keeps them apart."""

from __future__ import annotations

import pytest
import torch
import transformers

from llmkit.models import side_by_side
from llmkit.models.cpu_attention import speed_up_attention
from llmkit.models.side_by_side import first_position, places_of, takes_side_by_side


def test_places() -> None:
    places = places_of([3, 1, 2], torch.device("cpu"), first_position=2)
    assert places["position_ids"].tolist() == [[2, 3, 4, 2, 2, 3]]
    assert places["cu_seq_lens_q"].tolist() == places["cu_seq_lens_k"].tolist() == [0, 3, 4, 6]
    assert places["cu_seq_lens_q"].dtype is torch.int32
    assert places["max_length_q"] == places["max_length_k"] == 3


def tiny_model(kind, **arguments):
    """A model with heads of 16, the least that our attention takes."""
    torch.manual_seed(0)
    if kind == "gpt2":
        config = transformers.GPT2Config(vocab_size=99, n_positions=64, n_embd=32, n_layer=2, n_head=2)
    elif kind == "t5":
        config = transformers.T5Config(vocab_size=99, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2)
    else:
        config = transformers.AutoConfig.for_model(
            kind,
            vocab_size=99,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
        )
    model = transformers.AutoModel.from_config(config, **arguments).eval()
    return model.get_encoder() if kind == "t5" else model


@pytest.fixture
def fast(native):
    def load(kind):
        model = tiny_model(kind)
        speed_up_attention(model)
        return model

    return load


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra"])
def test_encoders_take_them(fast, kind) -> None:
    assert takes_side_by_side(fast(kind))


def test_positions_that_are_wrong_show(fast, monkeypatch) -> None:
    model = fast("roberta")
    assert first_position(model) == 2
    monkeypatch.setattr(side_by_side, "first_position", lambda model: 0)
    assert not takes_side_by_side(model)


def test_a_layer_that_looks_across_texts_shows(fast, monkeypatch) -> None:
    model = fast("bert")
    layer = model.encoder.layer[0].output
    plain = layer.forward
    monkeypatch.setattr(layer, "forward", lambda *args: plain(*args) + plain(*args).roll(1, dims=1))
    assert not takes_side_by_side(model)


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_other_models_do_not(fast, kind) -> None:
    assert not takes_side_by_side(fast(kind))


def test_without_our_attention_none_does() -> None:
    assert not takes_side_by_side(tiny_model("bert", attn_implementation="eager"))
