"""Folding: each tensor once, layers of a kind together, and no name for two things."""

from __future__ import annotations

import pytest
from torch import nn

from llmkit.architectures.building import build
from llmkit.architectures.folding import fold_buffers, fold_parameters


def folded(values, head=None):
    return {tensor.name: tensor for tensor in fold_parameters(build(values, head))}


def named(module):
    return {tensor.name: (tensor.sizes, tensor.copies) for tensor in fold_parameters(module)}


def repeats(tensor):
    return tuple(dimension.size for dimension in tensor.repeats)


class Stage(nn.Module):
    def __init__(self, layers, width):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(layers))


class Layers(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)


def linear(inside, outside=3):
    return nn.Linear(inside, outside, bias=False)


def test_layers_are_one():
    query = folded({"model_type": "bert"})["encoder.layer.*.attention.self.query.weight"]
    assert (query.sizes, query.copies, repeats(query)) == ((768, 768), 12, (12,))
    assert query.first == "encoder.layer.0.attention.self.query.weight"
    assert (query.stack, query.module_class, query.multiplies) == ("encoder.layer", "Linear", True)
    assert [dimension.formula for dimension in query.shape] == ["768", "768"]


def test_what_only_one_layer_has_keeps_its_number():
    tensors = folded({"model_type": "t5"})
    assert tensors["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"].copies == 1
    assert tensors["encoder.block.*.layer.0.SelfAttention.q.weight"].copies == 6


def test_a_list_of_one_is_still_a_list():
    query = folded({"model_type": "bert", "num_hidden_layers": 1})[
        "encoder.layer.*.attention.self.query.weight"
    ]
    assert (query.copies, repeats(query)) == (1, (1,))


def test_stages_of_different_widths_keep_their_numbers():
    tensors = folded({"model_type": "swin"})
    widths = [tensors[f"encoder.layers.{stage}.blocks.*.mlp.fc1.weight"] for stage in range(4)]
    assert [(each.sizes, each.copies) for each in widths] == [
        ((384, 96), 2),
        ((768, 192), 2),
        ((1536, 384), 6),
        ((3072, 768), 2),
    ]


def test_layers_that_differ_are_named_apart():
    shapes = named(Layers(linear(2), linear(2), linear(5), linear(2), linear(7)))
    assert shapes == {
        "layers.{0-1,3}.weight": ((3, 2), 3),
        "layers.2.weight": ((3, 5), 1),
        "layers.4.weight": ((3, 7), 1),
    }


def test_stages_that_numbers_do_not_tell_apart_are_split():
    """Both shapes are in stages 0 and 1 and at places 0 and 1: only both numbers tell one from the other."""
    grid = [[2, 5], [5, 2]]
    rows = [nn.ModuleList(linear(inside) for inside in row) for row in grid]
    assert named(Layers(*rows)) == {
        "layers.0.0.weight": ((3, 2), 1),
        "layers.0.1.weight": ((3, 5), 1),
        "layers.1.0.weight": ((3, 5), 1),
        "layers.1.1.weight": ((3, 2), 1),
    }


def test_copies_run_over_lists_in_lists():
    tensors = fold_parameters(Layers(Stage(4, 2), Stage(4, 2), Stage(4, 2)))
    assert [(each.name, repeats(each)) for each in tensors] == [("layers.*.blocks.*.weight", (3, 4))]


def test_copies_in_lists_of_different_lengths_are_one_number():
    tensors = fold_parameters(Layers(Stage(4, 2), Stage(1, 2)))
    assert [(each.copies, repeats(each)) for each in tensors] == [(5, (5,))]


@pytest.mark.parametrize(
    ("children", "names"),
    [
        ([linear(3), nn.ReLU(), linear(3)], ["0.weight", "2.weight"]),
        ([linear(3), linear(3)], ["*.weight"]),
    ],
    ids=["a sequence of different things", "a sequence of layers"],
)
def test_numbers_of_a_sequence(children, names):
    assert list(named(nn.Sequential(*children))) == names


def test_the_order_is_that_of_the_model():
    names = [tensor.first for tensor in fold_parameters(build({"model_type": "swin"}))]
    in_model = [name for name, _ in build({"model_type": "swin"}).named_parameters()]
    assert names == [name for name in in_model if name in names]


def test_a_tied_tensor_comes_once_with_its_other_names():
    tensors = folded({"model_type": "gpt2"})
    assert "lm_head.weight" not in tensors
    assert tensors["transformer.wte.weight"].tied == ("lm_head.weight",)
    assert tensors["transformer.wte.weight"].multiplies  # by the output layer
    assert tensors["transformer.wte.weight"].uses == 1
    assert not folded({"model_type": "gpt2"}, "none")["wte.weight"].multiplies


def test_the_names_of_one_module_at_many_layers():
    tensors = folded({"model_type": "zamba"})
    query = tensors["model.layers.2.shared_transf.self_attn.q_proj.weight"]
    assert len(query.tied) == 12
    assert query.uses == 13
    assert tensors["model.layers.2.shared_transf.input_layernorm.weight"].uses == 13


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"model_type": "gpt2"}, "transformer.h.*.attn.c_attn.weight"),
        ({"model_type": "mixtral"}, "model.layers.*.mlp.experts.gate_up_proj"),
        ({"model_type": "mixtral"}, "model.layers.*.mlp.gate.weight"),
        ({"model_type": "vit"}, "embeddings.patch_embeddings.projection.weight"),
        ({"model_type": "mamba"}, "backbone.layers.*.mixer.conv1d.weight"),
        ({"model_type": "bert"}, "pooler.dense.weight"),
    ],
)
def test_matrices_multiply(values, name):
    assert folded(values)[name].multiplies


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"model_type": "bert"}, "embeddings.word_embeddings.weight"),
        ({"model_type": "bert"}, "encoder.layer.*.output.LayerNorm.weight"),
        ({"model_type": "bert"}, "encoder.layer.*.output.dense.bias"),
        ({"model_type": "vit"}, "embeddings.position_embeddings"),
        ({"model_type": "vit"}, "embeddings.cls_token"),
        ({"model_type": "mamba"}, "backbone.layers.*.mixer.A_log"),
        ({"model_type": "gpt_oss"}, "model.layers.*.mlp.experts.gate_up_proj_bias"),
        ({"model_type": "blip-2"}, "model.query_tokens"),
        (
            {"model_type": "swin"},
            "encoder.layers.0.blocks.*.attention.relative_position_bias.relative_position_bias_table",
        ),
        ({"model_type": "t5"}, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"),
    ],
)
def test_what_is_added_or_looked_up_does_not(values, name):
    tensors = folded(values)
    found = tensors.get(name) or tensors[name.removeprefix("model.")]
    assert not found.multiplies


def test_buffers_are_listed_apart():
    buffers = {each.name: each for each in fold_buffers(build({"model_type": "gpt_neo"}))}
    mask = buffers["transformer.h.*.attn.attention.bias"]
    assert (mask.sizes, mask.copies, mask.dtype) == ((1, 1, 2048, 2048), 24, "bool")
