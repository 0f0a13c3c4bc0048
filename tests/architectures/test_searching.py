"""The search: what it finds gives the sizes in every model, and is the simplest that does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.architectures.algebra import parse, work_out
from llmkit.architectures.preferences import Context
from llmkit.architectures.searching import Search

WEIGHT, TABLE, REPEAT = (
    Context("layers.*.q.weight"),
    Context("wpe", is_table=True),
    Context("h.*.w", is_repeat=True),
)
BASE = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "max_position_embeddings": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "window_size": 7,
    "num_hidden_layers": 32,
    "first_k_dense_replace": 3,
}
CHANGED = [
    (33024, 5120, 12032, 4608, 32, 8, 384, 7, 7, 3),
    (34048, 8192, 14080, 7680, 64, 32, 640, 14, 6, 4),
    (40192, 6144, 13056, 8704, 128, 32, 896, 21, 8, 5),
    (37120, 9216, 17152, 5632, 128, 16, 1152, 9, 9, 4),
]
MODELS = [BASE, *(dict(zip(BASE, values, strict=True)) for values in CHANGED)]


def sizes(formula, models=MODELS):
    return tuple(int(work_out(parse(formula), model.__getitem__)) for model in models)


def found(formula, context=WEIGHT, models=MODELS):
    return Search(models).find(sizes(formula, models), context)


@pytest.mark.parametrize(
    "formula",
    [
        "hidden_size",
        "max_position_embeddings",
        "3 × hidden_size",
        "num_attention_heads × head_dim",
        "hidden_size / num_attention_heads",
        "2 × num_key_value_heads × head_dim",
        "max_position_embeddings + 2",
        "(2 × window_size − 1)²",
        "window_size² + 1",
        "hidden_size + intermediate_size",
        "hidden_size / num_attention_heads × num_key_value_heads",
        "num_attention_heads × (head_dim + window_size)",
    ],
)
def test_a_form_is_found_as_it_is(formula):
    assert found(formula) == formula


@pytest.mark.parametrize("formula", ["num_hidden_layers", "num_hidden_layers − first_k_dense_replace"])
def test_what_copies_run_over(formula):
    assert found(formula, REPEAT) == formula


@given(
    st.lists(st.sampled_from(["hidden_size", "head_dim", "num_key_value_heads", "2"]), min_size=1, max_size=3)
)
def test_what_is_found_gives_the_sizes(factors):
    formula = " × ".join(factors)
    result = found(formula)
    assert result is None or sizes(result) == sizes(formula)


def test_by_value_alone_a_name_is_chosen_by_where_it_stands():
    assert found("4,096", models=[BASE]) == "hidden_size"
    assert found("4,096", TABLE, [BASE]) == "max_position_embeddings"
    assert found("32", REPEAT, [BASE]) == "num_hidden_layers"
    assert found("1,024", models=[BASE]) == "num_key_value_heads × head_dim"


def test_a_size_that_nothing_moves_is_a_number():
    assert found("3") == "3"
    assert found("1", TABLE) == "1"
    assert found("4,097") == "4,097"


def test_a_size_that_nothing_explains():
    assert Search(MODELS).find((4096, 1, 22, 333, 4444), WEIGHT) is None


def test_a_model_without_the_tensor_says_nothing():
    known = sizes("num_attention_heads × head_dim")
    assert Search(MODELS).find((known[0], None, *known[2:]), WEIGHT) == "num_attention_heads × head_dim"


def test_a_nested_configs_own_tensors_come_first():
    both = [
        {f"{part}_config.hidden_size": model["hidden_size"] for part in ("text", "vision")}
        for model in MODELS
    ]
    path = Context("vision_model.encoder.layers.*.mlp.fc1.weight")
    assert Search(both).find(sizes("hidden_size"), path) == "vision_config.hidden_size"
