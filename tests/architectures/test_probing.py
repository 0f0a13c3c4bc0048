"""Probing: real models rebuilt with other numbers, and numbers that a model refuses left alone."""

from __future__ import annotations

import pytest

from llmkit.architectures.building import build, build_class, configure
from llmkit.architectures.folding import fold_parameters
from llmkit.architectures.probing import MOST_BUILDS, Prober


def prober(model_type, refuses=lambda config: False, **values):
    config = configure({"model_type": model_type, **values})
    model = build({"model_type": model_type, **values}, "none")
    built = []

    def rebuild(changed):
        built.append(changed)
        if refuses(changed):
            raise RuntimeError("no such model")
        return fold_parameters(build_class(type(model), changed))

    return Prober(config, rebuild, [tensor.first for tensor in fold_parameters(model)]), built


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama", "t5", "clip", "deepseek_v3"])
def test_all_numbers_are_borne_at_once(model_type):
    probing, built = prober(model_type)
    assert len(probing.rounds()) == len(built) == 4
    assert probing.refused == set()


def test_the_config_is_left_as_it_is():
    probing, _ = prober("llava")
    before = probing.config.to_dict()
    probing.rounds()
    assert probing.config.to_dict() == before


def test_a_deep_model_is_cut():
    probing, _ = prober("llama", num_hidden_layers=126)
    copies = [
        tensor.copies
        for each in probing.rounds()
        for tensor in [each.tensor_at("layers.0.mlp.up_proj.weight")]
    ]
    assert max(copies) < 10


def test_what_is_refused_is_found_and_the_rest_still_moves():
    probing, built = prober("bert", refuses=lambda config: config.intermediate_size != 3072)
    rounds = probing.rounds()
    assert probing.refused == {"intermediate_size"}
    assert {each.numbers["intermediate_size"] for each in rounds} == {3072}
    assert 768 not in {each.numbers["hidden_size"] for each in rounds}
    assert len(built) <= MOST_BUILDS


def test_a_model_that_bears_nothing():
    probing, built = prober("bert", refuses=lambda config: True)
    assert probing.rounds() == []
    assert len(built) <= MOST_BUILDS


def test_numbers_alone():
    probing, _ = prober("bert")
    alone = probing.alone(["hidden_size", "vocab_size"])
    name = "embeddings.word_embeddings.weight"
    assert alone["hidden_size"].tensor_at(name).sizes[0] == 30522
    assert alone["vocab_size"].tensor_at(name).sizes[1] == 768
    both = probing.together(["hidden_size", "vocab_size"]).tensor_at(name).sizes
    assert both[0] > 30522
    assert both[1] > 768


def test_a_tensor_is_found_under_another_number():
    """With more dense layers first, the first layer of experts is a later one."""
    probing, _ = prober("deepseek_v3")
    first = "layers.3.mlp.experts.down_proj"
    firsts = {each.tensor_at(first).first for each in probing.rounds()}
    assert len(firsts) > 1
