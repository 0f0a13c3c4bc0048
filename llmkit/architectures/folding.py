"""Folding: the tensors of all layers of a kind become one, with the number of copies and what they run over."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from llmkit.architectures.components import component_of
from llmkit.architectures.counted import Buffer, Dimension, Tensor
from llmkit.architectures.experts import active_share
from llmkit.architectures.places import Place, places
from llmkit.architectures.sharing import runs

if TYPE_CHECKING:
    from torch.nn import Module

# Parameters of two dimensions that are added or looked up, not multiplied by: positions, tokens that stand for
# an image, a table of biases, the decay of a state-space layer.
_NOT_MULTIPLIED = re.compile(
    r"embed|position|token|bias|norm|scale|table|quer(y|ies)$|latents?$|prompt|A_log|codebook|^D$"
)
_LOOKED_UP = re.compile(r"Embedding|Embed$")


@dataclass(frozen=True, slots=True)
class _Unique:
    """One tensor of the model, under the first of its names, and the places where it has others."""

    place: Place
    others: tuple[Place, ...] = ()


def fold_parameters(
    model: Module, *, is_head: Callable[[Place], bool] = lambda place: False
) -> tuple[Tensor, ...]:
    """Return the parameters of a model, each once, folded over its layers and experts.

    The sum of their totals is the number of the model's unique parameters. Formulas are plain numbers.

    Args:
        is_head: tells whether a parameter belongs to the head.
    """
    folded = []
    for group in _named_groups(_unique(places(model)), _kind_of_parameter):
        first = group.members[0].place
        others = group.members[0].others
        # Tensors that are folded share their names too: with stars, they stand for all of them.
        tied = tuple(each.name for each in others) if len(group.members) == 1 else _patterns(others)
        module_class = type(first.module).__name__
        folded.append(
            Tensor(
                name=group.name,
                shape=_numbers(first.tensor.shape),
                copies=len(group.members),
                repeats=_numbers(group.repeats),
                module_class=module_class,
                component=component_of(group.name, module_class, first.tensor.ndim),
                stack=first.stack,
                uses=_uses(group.members[0]),
                active=active_share(first.tensor, first.module, first.experts, first.config),
                multiplies=_multiplying(group.members[0]) > 0,
                is_head=is_head(first),
                tied=tied,
                first=first.name,
            )
        )
    return tuple(folded)


def fold_buffers(model: Module) -> tuple[Buffer, ...]:
    """Return the buffers of a model, each once, folded over its layers: what is kept but not trained."""
    return tuple(
        Buffer(
            group.name,
            tuple(group.members[0].place.tensor.shape),
            len(group.members),
            str(group.members[0].place.tensor.dtype).removeprefix("torch."),
        )
        for group in _named_groups(_unique(places(model, buffers=True)), _kind_of_buffer)
    )


def _unique(found: Iterable[Place]) -> list[_Unique]:
    by_tensor: dict[int, list[Place]] = defaultdict(list)
    for place in found:
        by_tensor[id(place.tensor)].append(place)
    return [_Unique(first, tuple(others)) for first, *others in by_tensor.values()]


def _kind_of_parameter(unique: _Unique) -> Hashable:
    """Return what tensors that are folded into one have in common, beside their name."""
    place = unique.place
    return (
        tuple(place.tensor.shape),
        type(place.module).__name__,
        tuple(other.pattern for other in unique.others),
        runs(place),
        place.experts and place.experts.count,
    )


def _kind_of_buffer(unique: _Unique) -> Hashable:
    return tuple(unique.place.tensor.shape), unique.place.tensor.dtype


@dataclass(frozen=True, slots=True)
class _Group:
    """Tensors that are folded into one.

    Attributes:
        name: the pattern, with the number put back where it is only one of several.
        repeats: the sizes of what the copies run over.
    """

    name: str
    repeats: tuple[int, ...]
    members: tuple[_Unique, ...]


def _named_groups(tensors: Sequence[_Unique], kind: Callable[[_Unique], Hashable]) -> list[_Group]:
    """Group tensors by pattern and kind, in the order of the model, under names that no two groups share."""
    by_pattern: dict[str, dict[Hashable, list[_Unique]]] = defaultdict(lambda: defaultdict(list))
    for unique in tensors:
        by_pattern[unique.place.pattern][kind(unique)].append(unique)
    groups = [
        group for pattern, kinds in by_pattern.items() for group in _name_apart(pattern, list(kinds.values()))
    ]
    order = {unique.place.name: number for number, unique in enumerate(tensors)}
    return sorted(groups, key=lambda group: order[group.members[0].place.name])


def _name_apart(pattern: str, groups: list[list[_Unique]], depth: int = 0) -> list[_Group]:
    """Name the groups of one pattern; those whose numbers do not tell them apart are split by one number more."""
    everywhere = _numbers_used([unique for group in groups for unique in group])
    named: dict[str, list[list[_Unique]]] = defaultdict(list)
    for group in groups:
        named[_name(pattern, group, everywhere)].append(group)
    result = []
    for name, same in named.items():
        if len(same) == 1:
            result.append(_Group(name, _repeats(same[0]), tuple(same[0])))
            continue
        split: dict[Hashable, list[_Unique]] = defaultdict(list)
        for number, group in enumerate(same):
            for unique in group:
                split[number, unique.place.indices[: depth + 1]].append(unique)
        result += _name_apart(pattern, list(split.values()), depth + 1)
    return result


def _name(pattern: str, group: Sequence[_Unique], everywhere: Sequence[set[int]]) -> str:
    """Put the numbers back into a pattern where the group has not all of them: ``layers.0``, ``layers.{0-3,8}``."""
    texts = []
    for position, numbers in enumerate(_numbers_used(group)):
        siblings = group[0].place.indices[position].siblings
        if len(numbers) == siblings or (len(numbers) > 1 and numbers == everywhere[position]):
            texts.append("*")
        elif len(numbers) == 1:
            texts.append(str(next(iter(numbers))))
        else:
            texts.append(f"{{{_ranges(sorted(numbers))}}}")
    parts = pattern.split("*")
    return "".join(part + text for part, text in zip(parts, [*texts, ""], strict=True))


def _repeats(group: Sequence[_Unique]) -> tuple[int, ...]:
    """Return the sizes of the lists that the copies run over, as one number where they are not all in all of them."""
    numbers = _numbers_used(group)
    siblings = [index.siblings for index in group[0].place.indices]
    sizes = [len(used) for used, among in zip(numbers, siblings, strict=True) if len(used) > 1 or among == 1]
    return tuple(sizes) if prod(sizes) == len(group) else (len(group),)


def _numbers_used(group: Sequence[_Unique]) -> list[set[int]]:
    columns = zip(*(unique.place.indices for unique in group), strict=True)
    return [{index.number for index in column} for column in columns]


def _ranges(numbers: Sequence[int]) -> str:
    """Write ``0-3,8`` for 0, 1, 2, 3, 8."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)


def _patterns(others: Iterable[Place]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(place.pattern for place in others))


def _numbers(sizes: Iterable[int]) -> tuple[Dimension, ...]:
    return tuple(Dimension(int(size), str(int(size))) for size in sizes)


def _uses(unique: _Unique) -> int:
    """Return how often a tensor is applied in one forward pass: at each of its places, as often as those run."""
    first = unique.place
    # The same part of the same kind of module at another place: Zamba's one block is at 13 layers. A bias that an
    # output layer shares with the head around it is not.
    again = sum(
        (type(place.module), place.own_name) == (type(first.module), first.own_name)
        for place in unique.others
    )
    places_used = 1 if _LOOKED_UP.search(type(first.module).__name__) else 1 + again
    return max(places_used, _multiplying(unique)) * runs(first)


def _multiplying(unique: _Unique) -> int:
    return sum(_multiplies(place) for place in (unique.place, *unique.others))


def _multiplies(place: Place) -> bool:
    """Whether activations are multiplied by the tensor as by a matrix, at this place."""
    if sum(size > 1 for size in place.tensor.shape) < 2 or place.tensor.ndim < 2:
        return False
    own_name = place.own_name if not place.own_name.isdigit() else place.name.split(".")[-2]
    return not (_LOOKED_UP.search(type(place.module).__name__) or _NOT_MULTIPLIED.search(own_name))
