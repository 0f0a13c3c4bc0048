"""Layers that are run more than once on the same weights."""

from __future__ import annotations

import pytest

from llmkit.architectures.building import configure
from llmkit.architectures.counting import count_architecture
from llmkit.architectures.sharing import has_loops

ALBERT = {"model_type": "albert", "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128}


def uses(counted, ending="attention.query.weight"):
    return {tensor.name: tensor.uses for tensor in counted.tensors if tensor.name.endswith(ending)}


def test_albert_runs_its_layer_twelve_times():
    counted = count_architecture(ALBERT, formulas=False)
    assert list(uses(counted).values()) == [12]
    assert uses(counted, "pooler.weight") == {"pooler.weight": 1}
    assert counted.shared_layers == "1 stored layer is used 12 times each in encoder.albert_layer_groups."
    assert [stack.layers for stack in counted.stacks] == [12]


def test_albert_with_groups_that_take_turns():
    """12 layers over 5 groups: the code gives them 3, 2, 3, 2 and 2."""
    counted = count_architecture(ALBERT | {"num_hidden_groups": 5}, formulas=False)
    assert uses(counted) == {
        "encoder.albert_layer_groups.{0,2}.albert_layers.*.attention.query.weight": 3,
        "encoder.albert_layer_groups.{1,3-4}.albert_layers.*.attention.query.weight": 2,
    }
    assert sum(stack.layers for stack in counted.stacks) == 12


@pytest.mark.parametrize(
    ("values", "ending", "times"),
    [
        (
            {"model_type": "perceiver", "num_blocks": 8},
            "self_attends.*.attention.self.query.weight",
            8,
        ),
        ({"model_type": "perceiver", "num_blocks": 8}, "cross_attention.attention.self.query.weight", 1),
        (
            {"model_type": "funnel", "block_repeats": [1, 3, 1]},
            "encoder.blocks.1.*.attention.q_head.weight",
            3,
        ),
    ],
)
def test_loops_of_other_models(values, ending, times):
    assert list(uses(count_architecture(values, formulas=False), ending).values()) == [times]


def test_a_model_without_loops_says_nothing():
    counted = count_architecture({"model_type": "bert"}, formulas=False)
    assert {tensor.uses for tensor in counted.tensors} == {1}
    assert counted.shared_layers == ""
    assert not has_loops(configure({"model_type": "bert"}))
