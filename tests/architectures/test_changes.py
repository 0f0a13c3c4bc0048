"""What is changed in a config: every number leaves a trace of its own."""

from __future__ import annotations

from itertools import combinations

import pytest

from llmkit.architectures.building import configure
from llmkit.architectures.changes import Changes, divides, is_layer_count
from llmkit.architectures.config_numbers import numbers_of

TYPES = ["bert", "llama", "gpt2", "t5", "mixtral", "deepseek_v3", "vit", "clip", "whisper", "mamba2"]


def traces(model_type):
    numbers = numbers_of(configure({"model_type": model_type}))
    changes = Changes(numbers, fewest_layers=1)
    rounds = [numbers | changes.of_round(turn) for turn in range(changes.rounds)]
    return {name: tuple(each[name] for each in (numbers, *rounds)) for name in numbers}


@pytest.mark.parametrize("model_type", TYPES)
def test_no_two_widths_move_alike(model_type):
    moved = {name: trace for name, trace in traces(model_type).items() if trace[0] >= 32}
    for one, other in combinations(moved, 2):
        left, right = moved[one], moved[other]
        assert any(a * right[0] != b * left[0] for a, b in zip(left, right, strict=True)), (one, other)


@pytest.mark.parametrize("model_type", TYPES)
def test_every_number_is_changed(model_type):
    assert [name for name, trace in traces(model_type).items() if len(set(trace)) == 1] == []


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama", "vit"])
def test_heads_divide_what_they_divided(model_type):
    moved = traces(model_type)
    width = moved.get("hidden_size") or moved["n_embd"]
    heads = moved.get("num_attention_heads") or moved["n_head"]
    assert all(whole % part == 0 for whole, part in zip(width, heads, strict=True))


def test_many_counts_have_patterns_of_their_own_too():
    numbers = {f"size_{place}": 6 for place in range(60)}
    changes = Changes(numbers, None)
    rounds = [changes.of_round(turn) for turn in range(changes.rounds)]
    patterns = [tuple(each.get(name, 6) for each in rounds) for name in numbers]
    assert len(set(patterns)) == len(numbers)


def test_layers_are_few():
    assert max(traces("llama")["num_hidden_layers"][1:]) < 8
    assert Changes({"num_hidden_layers": 2}, 1).fewer_layers() == {"num_hidden_layers": 2}
    assert Changes({"num_hidden_layers": 96}, None).layers(0) == {}


def test_a_number_of_stages_is_not_one_of_layers():
    numbers = {"depths[0]": 2, "depths[1]": 6, "num_layers": 2}
    assert set(Changes(numbers, 1).layers(0)) == {"depths[0]", "depths[1]"}


@pytest.mark.parametrize(
    ("name", "counts_layers"),
    [
        ("num_hidden_layers", True),
        ("n_layer", True),
        ("text_config.num_layers", True),
        ("encoder_layers", True),
        ("depths[3]", True),
        ("first_k_dense_replace", False),
        ("num_dense_layers", False),
        ("hidden_size", False),
    ],
)
def test_which_numbers_count_layers(name, counts_layers):
    assert is_layer_count(name) == counts_layers


@pytest.mark.parametrize(
    "name", ["num_attention_heads", "n_head", "num_heads[1]", "vision_config.patch_size"]
)
def test_what_widths_are_divided_by(name):
    assert divides(name)
    assert not divides("head_dim")
