"""Points of a plane in characters: a small picture for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

_CELL_ASPECT = 2.0  # a character is about twice as high as it is wide
_LEAST_WIDTH, _MOST_WIDTH, _MOST_HEIGHT = 16, 64, 17


def scatter(points: Sequence[tuple[float, float]], labels: Sequence[str], width: int) -> list[str]:
    """Return lines that show labelled points, both directions at the same scale, in a frame.

    A label whose place is taken stands at the nearest free one.

    Args:
        points: x to the right, y upwards.
        labels: a character or a few each.
        width: of the lines, the frame included.
    """
    columns = max(_LEAST_WIDTH, min(width - 2, _MOST_WIDTH))
    longest = max(map(len, labels))
    (left, right), (low, high) = (
        (min(each), max(each)) for each in ([x for x, _ in points], [y for _, y in points])
    )
    # So much of the plane a character is wide that both directions fit.
    step = max((right - left) / (columns - longest), (high - low) * _CELL_ASPECT / (_MOST_HEIGHT - 1), 1e-12)
    rows = min(_MOST_HEIGHT, round((high - low) / step / _CELL_ASPECT) + 1)
    grid = [[" "] * columns for _ in range(rows)]
    margin = (columns - longest - (right - left) / step) / 2
    for (x, y), label in zip(points, labels, strict=True):
        _put(grid, round(margin + (x - left) / step), round((high - y) / step / _CELL_ASPECT), label)
    body = [f"│{''.join(line)}│" for line in grid]
    return [f"┌{'─' * columns}┐", *body, f"└{'─' * columns}┘"]


def _put(grid: list[list[str]], column: int, row: int, label: str) -> None:
    """Write a label at a place, or at the nearest free one, with room around it."""
    rows, columns = len(grid), len(grid[0])
    free = (
        (place_row, place)
        for place_row in range(rows)
        for place in range(columns - len(label) + 1)
        if all(
            grid[place_row][each] == " "
            for each in range(max(0, place - 1), min(columns, place + len(label) + 1))
        )
    )
    found = min(
        free, key=lambda each: abs(each[0] - row) * _CELL_ASPECT + abs(each[1] - column), default=None
    )
    if found is not None:
        place_row, place = found
        grid[place_row][place : place + len(label)] = label
