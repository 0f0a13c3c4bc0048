"""Rows that other packages add to llmkit's tables, by entry points: a group for each table.

A package that is installed says in its pyproject.toml, for a metric ``edit_distance``::

    [project.entry-points."llmkit.metrics"]
    edit_distance = "its.module:ROW"

and the table has that row, under that name, beside its own. docs/extending.md shows each table.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Generic, TypeVar

from llmkit.errors import LlmkitError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Row = TypeVar("Row")


class PluginError(LlmkitError):
    """A package says that it adds a row, and does not."""


class Table(Mapping[str, Row], Generic[Row]):
    """A table: its own rows, and then those of other packages, which are not looked for before they are needed.

    Where two have a name, the table's own row stands, then the first found.

    Args:
        group: of entry points, ``llmkit.metrics``.
        own: rows by name.
        kind: what a row is.
    """

    def __init__(self, group: str, own: Mapping[str, Row], kind: type[Row]) -> None:
        self._group, self._own, self._kind = group, own, kind

    def __getitem__(self, name: str) -> Row:
        return self._own[name] if name in self._own else self._loaded(_added(self._group)[name])

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in _added(self._group)

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from (name for name in _added(self._group) if name not in self._own)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _loaded(self, point: EntryPoint) -> Row:
        try:
            row = point.load()
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise _broken(point, f"cannot be loaded: {why}") from error
        if not isinstance(row, self._kind):
            raise _broken(point, f"is a {type(row).__name__}, no {self._kind.__name__}.")
        return row


@functools.cache
def _added(group: str) -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        found.setdefault(point.name, point)
    return found


def _broken(point: EntryPoint, how: str) -> PluginError:
    package = point.dist.name if point.dist is not None else "a package"
    return PluginError(
        f"{point.name} of {package} ({point.group}, {point.value}) {how}",
        hint=f"Mend {package}, or remove it: pip uninstall {package}.",
    )
