"""The tree of modules: every node the sum of what is in it, to any depth."""

from __future__ import annotations

import pytest

from llmkit.architectures.tree import tree
from tests.architectures.explained import counted


def nodes(node):
    yield node
    for child in node.children:
        yield from nodes(child)


def child(node, *path):
    for name in path:
        node = next(each for each in node.children if each.name == name)
    return node


@pytest.mark.parametrize(
    "model_type", ["bert", "t5", "swin", "mixtral", "llava", "albert", "resnet", "switch_transformers"]
)
def test_a_node_is_the_sum_of_its_children(model_type):
    root = tree(counted(model_type))
    assert root.total == counted(model_type).total
    for node in nodes(root):
        if node.children:
            assert sum(each.total for each in node.children) == node.total


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_depth(depth):
    def deepest(node):
        return 1 + max(map(deepest, node.children), default=-1)

    root = tree(counted("bert"), depth)
    assert deepest(root) == depth
    assert root.total == 109_482_240


def test_berts_modules():
    root = tree(counted("bert"))
    assert (root.name, root.module_class) == ("", "BertModel")
    assert [each.name for each in root.children] == ["embeddings", "encoder", "pooler"]
    layer = child(root, "encoder", "layer.*")
    assert (layer.copies, layer.total, layer.shape) == (12, 12 * 7_087_872, None)
    query = child(layer, "attention", "self", "query")
    assert query.module_class == "Linear"
    weight = child(query, "weight")
    assert (weight.shape, weight.formula) == ((768, 768), "num_hidden_layers × hidden_size × hidden_size")
    assert weight.children == ()


def test_lists_within_lists():
    block = child(tree(counted("switch_transformers")), "encoder", "block.*")
    assert block.copies == 12
    experts = child(block, "layer.1", "mlp", "experts")
    # Every fourth block has them: the count of a list's own tensors is what it is in all.
    assert experts.total == 3 * 8 * 2 * 768 * 2048
    groups = child(tree(counted("albert")), "encoder", "albert_layer_groups.*")
    assert (groups.copies, child(groups, "albert_layers.*").copies) == (1, 1)
