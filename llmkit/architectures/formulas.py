"""Formulas for the sizes of a model's tensors in its config's own names, found from the numbers alone.

Each size is looked at in several models: the one that is counted, and a few with other numbers in their config
(`llmkit.architectures.probing`). A formula is taken when it gives the size in all of them, the simplest first. No
formula is written for a family of models; where none is found, the number itself stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmkit.architectures.algebra import number, parse, work_out
from llmkit.architectures.config_numbers import numbers_of, value_of
from llmkit.architectures.counted import Dimension, Tensor
from llmkit.architectures.preferences import FAR, Context, preference
from llmkit.architectures.probing import Prober, Rebuild, Round
from llmkit.architectures.searching import Search, Sizes

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def evaluate(formula: str, config: Mapping[str, Any] | PreTrainedConfig) -> int:
    """Return the value of a formula under a config, rounded down.

    Raises:
        ValueError: it is not a formula.
        KeyError: the config does not have one of its names.
        ZeroDivisionError: it divides by a number that is 0 in this config.
    """
    values = config if isinstance(config, Mapping) else config.to_dict()
    return int(work_out(parse(formula), lambda name: value_of(values, name)))


def explain(
    tensors: Sequence[Tensor], config: PreTrainedConfig, rebuild: Rebuild | None
) -> tuple[Tensor, ...]:
    """Return the tensors with a formula for each dimension, and for what their copies run over.

    Every formula gives its size under `config`. Without `rebuild`, or where the architecture cannot be built with
    other numbers, formulas are chosen by value and by the names that such tensors usually go by.

    Args:
        tensors: of the model of `config`.
        rebuild: builds the model of a changed config and returns its folded tensors, in which a tensor is
            found again by its `first` name.
    """
    rounds = [Round(numbers_of(config), tensors)]
    prober = None if rebuild is None else Prober(config, rebuild, [tensor.first for tensor in tensors])
    rounds += prober.rounds() if prober else []
    search = Search([each.numbers for each in rounds])
    places = [_Place(tensor, part, axis) for tensor in tensors for part, axis in _axes(tensor)]
    found = {place: search.find(place.sizes(rounds), place.context) for place in places}
    missing = [place for place in places if found[place] is None and place.part == "shape"]
    if prober and len(rounds) > 1 and missing:
        found |= _look_closer(missing, prober, rounds)
    _agree_on_repeats(found)
    values = config.to_dict()

    def dimensions(tensor: Tensor, part: str) -> tuple[Dimension, ...]:
        return tuple(
            Dimension(each.size, _held(found[_Place(tensor, part, axis)], each.size, values))
            for axis, each in enumerate(getattr(tensor, part))
        )

    return tuple(
        replace(tensor, shape=dimensions(tensor, "shape"), repeats=dimensions(tensor, "repeats"))
        for tensor in tensors
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """One dimension of a tensor's ``shape``, or of its ``repeats``."""

    tensor: Tensor
    part: str
    axis: int

    @property
    def size(self) -> int:
        return getattr(self.tensor, self.part)[self.axis].size

    @property
    def context(self) -> Context:
        return Context(
            self.tensor.name,
            is_table=self.part == "shape"
            and self.axis == 0
            and self.tensor.module_class.endswith("Embedding"),
            is_repeat=self.part == "repeats",
        )

    @property
    def layers(self) -> tuple[str, int, int]:
        """What tensors of the same layers have in common: their path up to the last star, and how many they are."""
        return self.tensor.name.rpartition(".*.")[0], self.axis, self.size

    def sizes(self, rounds: Sequence[Round]) -> Sizes:
        """Return the size in each model, None where that has no such tensor or no such dimension."""
        is_only_one = rounds[0].is_only_one(self.tensor.first)
        return tuple(self._size_in(each, is_only_one) for each in rounds)

    def _size_in(self, model: Round, is_only_one: bool) -> int | None:
        other = model.tensor_at(self.tensor.first)
        dimensions = getattr(other, self.part, ())
        # Under another number, it is the same only where there is no other that it could be.
        is_same = other is not None and (is_only_one or other.first == self.tensor.first)
        matches = is_same and len(dimensions) == len(getattr(self.tensor, self.part))
        return dimensions[self.axis].size if matches else None


def _agree_on_repeats(found: dict[_Place, str | None]) -> None:
    """Give tensors of the same layers the same formula for how many those are, where only some have one."""
    known: dict[tuple[str, int, int], str] = {}
    for place, formula in found.items():
        if place.part == "repeats" and formula and not formula[0].isdigit():
            known.setdefault(place.layers, formula)
    for place, formula in found.items():
        if place.part == "repeats" and (formula is None or formula[0].isdigit()):
            found[place] = known.get(place.layers, formula)


def _axes(tensor: Tensor) -> Iterator[tuple[str, int]]:
    for part in ("shape", "repeats"):
        yield from ((part, axis) for axis in range(len(getattr(tensor, part))))


def _look_closer(
    places: Sequence[_Place], prober: Prober, rounds: Sequence[Round]
) -> dict[_Place, str | None]:
    """Change one number at a time to see which ones move these sizes, and find formulas of those."""
    alone = prober.alone(name for name in rounds[0].numbers if any(_near(name, place) for place in places))
    found: dict[_Place, str | None] = {}
    done: dict[tuple[object, ...], str | None] = {}
    for place in places:
        sizes = place.sizes([rounds[0], *alone.values()])[1:]
        names = [name for name, size in zip(alone, sizes, strict=True) if size not in (None, place.size)]
        key = (place.context.key, place.sizes(rounds), tuple(names))
        if key not in done:
            done[key] = _among(names, place, prober, rounds, [alone[name] for name in names])
        found[place] = done[key]
    return found


def _among(
    names: Sequence[str], place: _Place, prober: Prober, rounds: Sequence[Round], alone: Sequence[Round]
) -> str | None:
    """Find a formula that holds in all models; failing that, where no more than these names is changed."""
    together = prober.together(names)
    few = [rounds[0], *alone, *([together] if together else [])]
    for models in ([*rounds, *few[1:]], few):
        formula = Search([each.numbers for each in models]).among(names, place.sizes(models), place.context)
        if formula is not None:
            return formula
    return None


def _near(name: str, place: _Place) -> bool:
    return preference(name, place.context) < FAR


def _held(formula: str | None, size: int, values: Mapping[str, Any]) -> str:
    """Return the formula if it gives the size, else the size itself."""
    try:
        if formula is not None and evaluate(formula, values) == size:
            return formula
    except (ValueError, KeyError, ZeroDivisionError):
        pass
    return number(size)
