"""The names of a checkpoint and those of the model."""

from __future__ import annotations

from llmkit.architectures.checkpoint_names import as_loaded, folded, with_new_words, without_prefix


def test_numbers_are_folded():
    assert folded("h.0.mlp.3.bias") == "h.*.mlp.*.bias"
    assert folded("encoder.layer1.0") == "encoder.layer1.*"
    assert folded("0.auto_model.weight") == "*.auto_model.weight"


def test_old_words():
    assert with_new_words("embeddings.LayerNorm.gamma") == "embeddings.LayerNorm.weight"
    assert with_new_words("conv.weight_g") == "conv.parametrizations.weight.original0"
    assert with_new_words("gamma.weight") == "gamma.weight"


def test_a_prefix_more_or_less():
    assert without_prefix({"bert.a", "bert.b", "cls.c"}, {"a", "b"}) == {
        "bert.a": "a", "bert.b": "b", "cls.c": "cls.c"
    }  # fmt: skip
    assert without_prefix({"a", "c"}, {"bert.a", "bert.b"}) == {"a": "bert.a", "c": "c"}
    assert without_prefix({"a"}, {"a"}) == {"a": "a"}


def test_what_transformers_does_not_know_stays_as_it_is():
    assert as_loaded(["a.b"], {"model_type": "none"}, "none") == {"a.b": "a.b"}
