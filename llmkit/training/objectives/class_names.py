"""Which of a trained model's classes the labels of a data set are, where the two are not written alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from llmkit.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_NUMBERED = re.compile(r"(?:label_)?(\d+)", re.IGNORECASE)
_MOST_SHOWN = 20


def classes_of(model_config: PreTrainedConfig, named: Sequence[str] | None) -> list[str]:
    """Return the names of a model's classes, in order.

    Args:
        named: names to call them by instead.

    Raises:
        UsageError: there is another number of names than of classes.
    """
    own = [str(name) for _, name in sorted(model_config.id2label.items())]
    if named is None:
        return own
    if len(named) != len(own):
        raise UsageError(
            f"{len(named)} names for the {len(own)} classes of the model: {', '.join(own[:_MOST_SHOWN])}.",
            hint="Name each class once, in the order of the model's.",
        )
    return list(named)


def class_numbers(names: Iterable[str], classes: Sequence[str]) -> dict[str, int]:
    """Return the number of the class that each label is.

    A label is a class of the same name, whatever its case; else, if all labels are numbers (2 or LABEL_2), the
    class of that number.

    Raises:
        DataError: a label is none of the classes.
    """
    names = list(names)
    by_folded: dict[str, int] = {}
    for number, name in reversed(list(enumerate(classes))):
        by_folded[name.casefold()] = number
    exact = {name: number for number, name in enumerate(classes)}
    found = {name: exact.get(name, by_folded.get(name.casefold())) for name in names}
    if None in found.values():
        matches = {name: _NUMBERED.fullmatch(name) for name in names}
        numbers = {name: int(match[1]) for name, match in matches.items() if match is not None}
        if len(numbers) == len(names) and max(numbers.values()) < len(classes):
            return numbers
    unknown = [name for name, number in found.items() if number is None]
    if unknown:
        raise _unknown(unknown, classes)
    return {name: number for name, number in found.items() if number is not None}


def _unknown(names: Sequence[str], classes: Sequence[str]) -> DataError:
    shown = ", ".join(repr(name) for name in names[:_MOST_SHOWN])
    known = ", ".join(classes[:_MOST_SHOWN]) + (", …" if len(classes) > _MOST_SHOWN else "")
    near = did_you_mean(names[0], classes)
    return DataError(
        f"the model has no class {shown}; its classes are: {known}." + (f" {near}" if near else ""),
        hint="If the labels are these classes by other names, say yours in the order of the model's: --labels a,b",
    )


def renaming_notes(numbers: Mapping[str, int], classes: Sequence[str]) -> list[str]:
    """Return a sentence on the labels that are not written as the classes they were taken for."""
    other = [f"{name} = {classes[number]}" for name, number in numbers.items() if name != classes[number]]
    more = f", and {len(other) - _MOST_SHOWN} more" if len(other) > _MOST_SHOWN else ""
    return (
        [f"labels taken for classes of the model: {', '.join(other[:_MOST_SHOWN])}{more}."] if other else []
    )
