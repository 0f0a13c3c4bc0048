"""``hub:NAME[:config][:split]``: a data set of the hub, read as it streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llmkit.data.records import BadRecord, Record
from llmkit.data.sources import dataset_rows, dataset_splits
from llmkit.errors import DataError, did_you_mean

HUB_PREFIX = "hub:"
# The split that a set of the run is read from where none is named.
_USUAL = {
    "train": ("train",),
    "validation": ("validation", "valid", "dev", "eval"),
    "test": ("test",),
}

Splits = Mapping[str, Iterable[dict[str, Any]]]


def hub_rows(name: str, wanted: str) -> Iterator[Record | BadRecord]:
    """Go through the rows of a data set of the hub; nothing of it is kept.

    Args:
        name: ``hub:NAME``, ``hub:NAME:config:split``, or ``hub:NAME:`` and one of the two.
        wanted: train, validation or test: the set of the run that it is for.

    Raises:
        DataError: there is no such config or split; the message names those there are.
        HubError: the hub did not give it: unknown, private, unreachable, offline.
    """
    repository, *rest = name.removeprefix(HUB_PREFIX).split(":")
    if not repository or len(rest) > 2 or not all(rest):
        raise DataError(
            f"{name} names no data set.", hint="Write hub:NAME, hub:NAME:config or hub:NAME:config:split."
        )
    if len(rest) == 2:
        config, split = rest
        return _rows(f"{HUB_PREFIX}{repository}:{config}", dataset_splits(f"{repository}:{config}"), split)
    if not rest:
        splits = dataset_splits(repository)
        return _rows(name, splits, _usual(name, splits, wanted))
    splits, split = _told_apart(repository, rest[0], wanted, name)
    return _rows(name, splits, split)


def _told_apart(repository: str, part: str, wanted: str, name: str) -> tuple[Splits, str]:
    """Return the splits and the one that is meant, where a single word is a config or a split."""
    try:
        splits = dataset_splits(repository)
    except DataError:  # which of several configs is not said
        splits = {}
    if part in splits:
        return splits, part
    try:
        of_config = dataset_splits(f"{repository}:{part}")
    except DataError:
        if splits:
            raise _no_split(f"{HUB_PREFIX}{repository}", part, splits) from None
        raise
    return of_config, _usual(name, of_config, wanted)


def _usual(name: str, splits: Splits, wanted: str) -> str:
    found = next((each for each in _USUAL[wanted] if each in splits), None)
    if found is not None:
        return found
    if len(splits) == 1 and wanted == "train":
        return next(iter(splits))
    raise DataError(
        f"which split of {name} is for {wanted}? Its splits are: {', '.join(splits)}.",
        hint=f"Name it after a colon: {name}:{next(iter(splits))}",
    )


def _rows(name: str, splits: Splits, split: str) -> Iterator[Record | BadRecord]:
    if split not in splits:
        raise _no_split(name, split, splits)
    return dataset_rows(splits[split], name.removeprefix(HUB_PREFIX))


def _no_split(name: str, split: str, splits: Splits) -> DataError:
    return DataError(
        f"no split {split!r} in {name}; its splits are: {', '.join(splits)}.",
        hint=did_you_mean(split, splits),
    )
