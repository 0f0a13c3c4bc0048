"""The numbers of a config: named, read and changed, in nested configs and in lists."""

from __future__ import annotations

import pytest

from llmkit.architectures.building import configure
from llmkit.architectures.config_numbers import numbers_of, put, value_of


def config(model_type, **values):
    return configure({"model_type": model_type, **values})


def test_names_are_the_configs_own():
    numbers = numbers_of(config("gpt2"))
    assert (numbers["n_embd"], numbers["n_positions"], numbers["vocab_size"]) == (768, 1024, 50257)
    assert "hidden_size" not in numbers


def test_what_is_no_size_is_left_out():
    numbers = numbers_of(config("bert"))
    assert not {"pad_token_id", "layer_norm_eps", "hidden_dropout_prob", "use_cache"} & set(numbers)
    assert numbers["num_labels"] == 2


def test_nested_configs_and_lists():
    assert numbers_of(config("clip"))["vision_config.patch_size"] == 32
    numbers = numbers_of(config("swin"))
    assert [numbers[f"depths[{at}]"] for at in range(4)] == [2, 2, 6, 2]
    assert numbers["mlp_ratio"] == 4.0


@pytest.mark.parametrize("model_type", ["bert", "swin", "convnext", "clip", "llava", "wav2vec2"])
def test_every_number_is_found_again_by_its_name(model_type):
    values = config(model_type).to_dict()
    assert {name: value_of(values, name) for name in numbers_of(values)} == numbers_of(values)


@pytest.mark.parametrize(
    ("model_type", "name"),
    [
        ("bert", "hidden_size"),
        ("bert", "num_labels"),
        ("clip", "vision_config.hidden_size"),
        ("swin", "depths[2]"),
        ("wav2vec2", "conv_dim[0]"),  # a tuple
    ],
)
def test_a_number_is_changed_and_nothing_else(model_type, name):
    changed = config(model_type)
    before = numbers_of(changed)
    put(changed, name, before[name] + 32)
    assert numbers_of(changed) == before | {name: before[name] + 32}
    assert numbers_of(config(model_type)) == before


@pytest.mark.parametrize("name", ["hiden_size", "hidden_size.x", "hidden_size[0]", "hidden_act", "use_cache"])
def test_what_is_no_number(name):
    with pytest.raises(KeyError):
        value_of(config("bert").to_dict(), name)
