"""The modules of a model as a tree, folded over its layers, with what each holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.architectures.counted import Counted, Tensor
from llmkit.architectures.report import tensor_formula

_NUMBERS = re.compile(r"\*|\d+|\{[\d,-]+\}")


@dataclass(frozen=True, slots=True)
class Node:
    """A module, or at the leaves a tensor.

    Attributes:
        name: within the module around it, layers with their list: ``layer.*``; "" for the model.
        module_class: "" where it only holds other modules; of a tensor, the class of the module it is in.
        total: parameters, in all copies.
        copies: how many modules of the kind this one stands for, beside each other; 1 for most.
        shape: of a tensor; None of a module.
        formula: of a tensor's `total`, its copies first, in the config's names; "" of a module.
        children: modules and tensors inside, none below the depth that was asked for.
    """

    name: str
    module_class: str
    total: int
    copies: int = 1
    shape: tuple[int, ...] | None = None
    formula: str = ""
    children: tuple[Node, ...] = ()


def tree(counted: Counted, depth: int | None = None) -> Node:
    """Return the model as a tree, its modules in their order.

    Args:
        depth: levels of modules and tensors below the model; None for all.
    """
    paths = [(_steps(tensor.name), tensor) for tensor in counted.tensors]
    return _node("", counted.model_class, 1, paths, depth)


def _node(
    name: str, module_class: str, copies: int, inside: Sequence[tuple[list[str], Tensor]], depth: int | None
) -> Node:
    total = sum(tensor.total for _, tensor in inside)
    if depth == 0:
        return Node(name, module_class, total, copies)
    by_step: dict[str, list[tuple[list[str], Tensor]]] = {}
    for steps, tensor in inside:
        by_step.setdefault(steps[0], []).append((steps[1:], tensor))
    deeper = None if depth is None else depth - 1
    children = []
    for step, below in by_step.items():
        ends = [tensor for steps, tensor in below if not steps]
        children += [_leaf(step, tensor) for tensor in ends]
        modules = [(steps, tensor) for steps, tensor in below if steps]
        if modules:
            children.append(_node(step, _class_of(modules), _copies(step, modules), modules, deeper))
    return Node(name, module_class, total, copies, children=tuple(children))


def _leaf(name: str, tensor: Tensor) -> Node:
    formula, _ = tensor_formula(tensor)
    return Node(name, tensor.module_class, tensor.total, shape=tensor.sizes, formula=formula)


def _class_of(inside: Sequence[tuple[list[str], Tensor]]) -> str:
    """Return the class of a module that holds tensors itself; of any other, nothing is known."""
    return next((tensor.module_class for steps, tensor in inside if len(steps) == 1), "")


def _copies(step: str, inside: Sequence[tuple[list[str], Tensor]]) -> int:
    """Return over how many modules a step such as ``layer.*`` is folded."""
    if not _is_folded(step):
        return 1
    steps, tensor = inside[0]
    within = sum(_is_folded(each) for each in steps)
    folded = sum(_is_folded(each) for each in _steps(tensor.name))
    # Where the copies are not all of all the lists, `repeats` has one number for them together.
    if len(tensor.repeats) != folded:
        return tensor.copies if folded == 1 else 1
    return tensor.repeats[folded - within - 1].size


def _is_folded(step: str) -> bool:
    return "*" in step or "{" in step


def _steps(name: str) -> list[str]:
    """Split a name at its dots, numbers kept with what they are of."""
    steps: list[str] = []
    for word in re.split(r"\.(?![^{]*\})", name):
        if steps and _NUMBERS.fullmatch(word):
            steps[-1] += f".{word}"
        else:
            steps.append(word)
    return steps
