"""A walk over a built model: every parameter and buffer at every name it has, and what it is in there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from llmkit.architectures.experts import Experts, experts_in

if TYPE_CHECKING:
    from torch import Tensor as TorchTensor
    from torch.nn import Module

_NUMBERED = re.compile(r"(.*?)(\d+)")


class Index(NamedTuple):
    """A number in a name: of a layer or an expert, and how many there are beside it in its list."""

    number: int
    siblings: int


@dataclass(frozen=True, slots=True)
class Place:
    """One name of a parameter or buffer.

    Attributes:
        name: its full name, as in a checkpoint.
        pattern: the name with ``*`` for each number of `indices`.
        module: what holds it, and `own_name`, how that calls it.
        stack: the name of the outermost numbered list it is in, "" outside of any.
        config: the config of the nearest module around it that keeps one.
        experts: the routed experts it is in, None outside of any.
    """

    name: str
    pattern: str
    own_name: str
    tensor: TorchTensor
    module: Module
    indices: tuple[Index, ...] = ()
    stack: str = ""
    config: Any = None
    experts: Experts | None = None


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where the walk is: what every place below a module has in common."""

    name: str = ""
    pattern: str = ""
    indices: tuple[Index, ...] = ()
    stack: str = ""
    config: Any = None
    experts: Experts | None = None


def places(model: Module, *, buffers: bool = False) -> Iterator[Place]:
    """Go through the parameters, or the buffers, in the order of the model's modules; a shared one comes again."""
    yield from _below(model, _Spot(), buffers)


def _below(module: Module, spot: _Spot, buffers: bool) -> Iterator[Place]:
    config = getattr(module, "config", None)
    if hasattr(config, "to_dict"):
        spot = replace(spot, config=config)
    spot = replace(spot, experts=experts_in(module, spot.name, spot.experts))
    own = module._buffers if buffers else module._parameters
    for name, tensor in own.items():
        if tensor is not None:
            at = _step(module, name, spot, len(own))
            yield Place(
                at.name, at.pattern, name, tensor, module, at.indices, at.stack, spot.config, spot.experts
            )
    siblings = siblings_in(module)
    for name, child in module._modules.items():
        if child is not None:
            yield from _below(child, _step(module, name, spot, siblings), buffers)


def _step(module: Module, name: str, spot: _Spot, siblings: int) -> _Spot:
    """Return the spot one name further down."""
    full = f"{spot.name}.{name}" if spot.name else name
    start = f"{spot.pattern}." if spot.pattern else ""
    numbered = split_number(module, name) if siblings else None
    if numbered is None:
        return replace(spot, name=full, pattern=f"{start}{name}")
    prefix, number = numbered
    return replace(
        spot,
        name=full,
        pattern=f"{start}{prefix}*",
        indices=(*spot.indices, Index(number, siblings)),
        stack=spot.stack or spot.name,
    )


def split_number(module: Module, name: str) -> tuple[str, int] | None:
    """Split ``expert_12``, a child of `module`, into its text and its number; None for a name that is not of a list."""
    from torch.nn import ModuleDict

    found = _NUMBERED.fullmatch(name)
    if found is None or (found[1] and not isinstance(module, ModuleDict)):
        return None
    return found[1], int(found[2])


def siblings_in(module: Module) -> int:
    """Return how many children of a module are layers of a kind, so that their numbers say nothing but which.

    0 for a list of different things (attention, then feed-forward), whose numbers tell what they are.
    """
    from torch.nn import Sequential

    classes = Counter(type(child) for child in module._modules.values() if child is not None)
    if classes.total() > 1 and (
        max(classes.values()) == 1 or (isinstance(module, Sequential) and len(classes) > 1)
    ):
        return 0
    return classes.total()
