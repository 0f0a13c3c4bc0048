"""Which columns of a sheet a terminal has room for: the others give way, or follow in a table of their own."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmkit.cli.sheets import Column, Sheet

# Between two columns.
GAP = 2
# What a column of words can be folded to, and the title of a column of numbers.
NARROWEST = 16


def fitted(sheet: Sheet, width: int) -> Iterator[Sheet]:
    """Go through the tables that a sheet is shown as: one, or as many as its models take."""
    columns = [_room(sheet, place, NARROWEST) for place in range(len(sheet.columns))]
    if not sheet.is_comparison:
        yield _picked(sheet, _kept(sheet.columns, columns, width))
        return
    label = _room(sheet, 0, max(NARROWEST, 2 * width // 5))
    for places in _blocks(columns[1:], width - label):
        block = _picked(sheet, [0, *places])
        titles = [
            replace(each, title=_folded(each.title, columns[place])) for place, each in _of(block, places)
        ]
        rows = tuple(row for row in block.rows if any(row[1:]))
        yield replace(block, columns=(block.columns[0], *titles), rows=rows)


def _room(sheet: Sheet, place: int, narrowest: int) -> int:
    """Return what a column takes at least: its numbers are never cut, words are folded."""
    column = sheet.columns[place]
    if column.in_files_only or column.goes_below:
        return 0
    cells = [row[place] for row in (*sheet.rows, sheet.total) if row]
    widest = max(map(len, cells), default=0)
    if not column.is_number:
        return min(max(widest, len(column.title)), narrowest)
    title = min(len(column.title), NARROWEST) if sheet.is_comparison else len(column.title)
    return max(widest, title)


def _kept(columns: Sequence[Column], room: Sequence[int], width: int) -> list[int]:
    """Return the places of the columns that stay, after those that give way first have gone."""
    kept = list(range(len(columns)))
    for first in sorted({each.gives_way for each in columns if each.gives_way}):
        if sum(room[place] + GAP for place in kept if room[place]) - GAP <= width:
            break
        kept = [place for place in kept if columns[place].gives_way != first]
    return kept


def _blocks(room: Sequence[int], width: int) -> Iterator[list[int]]:
    """Go through the places of the columns that stand beside each other; one at least does."""
    block: list[int] = []
    taken = 0
    for place, each in enumerate(room, start=1):
        if block and taken + GAP + each > width:
            yield block
            block, taken = [], 0
        block.append(place)
        taken += GAP + each
    yield block


def _of(block: Sheet, places: Sequence[int]) -> Iterator[tuple[int, Column]]:
    return zip(places, block.columns[1:], strict=True)


def _folded(title: str, width: int) -> str:
    return "\n".join(textwrap.wrap(title, width)) if len(title) > width else title


def _picked(sheet: Sheet, places: Sequence[int]) -> Sheet:
    def pick(row: Sequence[str]) -> tuple[str, ...]:
        return tuple(row[place] for place in places)

    return replace(
        sheet,
        columns=tuple(sheet.columns[place] for place in places),
        rows=tuple(map(pick, sheet.rows)),
        total=pick(sheet.total) if sheet.total else (),
    )
