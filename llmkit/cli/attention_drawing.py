"""A matrix of weights in a terminal: shaded cells with tokens on both sides, and the sum of each row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.cli.attention_views import matrices, prediction_notes

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, Group
    from rich.style import Style
    from rich.text import Text

    from llmkit.insight.attention import AttentionWeights, Reading

_SHADES = ((0.05, " "), (0.2, "░"), (0.4, "▒"), (0.7, "▓"))
_FULL = "█"
_LABEL_WIDTH = 16
_NUMBER_CELL, _WIDEST_CELL, _SHADE_CELL = 4, 9, 2
_SUM = 7  # with the gap before it
# From paper to the darkest of the blues that heat maps usually have.
_LIGHT, _DARK = (247, 251, 255), (8, 48, 107)


def drawn_reading(reading: Reading, kinds: Sequence[AttentionWeights]) -> Group:
    """Return the matrices as Rich draws them."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = []
    for number, (title, each, matrix) in enumerate(matrices(kinds, reading.model)):
        parts += [Text()] if number else []
        parts += [Text(title, style="bold"), Text()]
        parts.append(_Matrix(each, matrix.tolist()))
    notes = [Text(each) for each in prediction_notes(reading)]
    return Group(*parts, *([Text(), *notes] if notes else []))


@dataclass(frozen=True, slots=True)
class _Matrix:
    """A matrix that is drawn when Rich knows how wide the terminal is, and whether it has enough colors to shade."""

    found: AttentionWeights
    matrix: list[list[float]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        is_shaded = console.color_system in ("256", "truecolor") and not console.no_color
        yield from _Grid(self.found, self.matrix, options.max_width, is_shaded).lines()


@dataclass(frozen=True, slots=True)
class _Grid:
    """One matrix, as wide as there is room; where all its columns do not fit, in several blocks."""

    found: AttentionWeights
    matrix: list[list[float]]
    width: int
    is_colored: bool

    def lines(self) -> Iterator[Text]:
        """Go through the lines: a head, and a row a token."""
        cell, gap = self._cell()
        room = max(1, (self.width - self._left() - _SUM) // (cell + gap))
        keys = len(self.found.keys)
        for start in range(0, keys, room):
            if start:
                yield self._text("")
            columns = range(start, min(start + room, keys))
            yield from self._head(columns, cell, gap, is_last=columns[-1] == keys - 1)
            for row in range(len(self.found.queries)):
                yield self._row(row, columns, cell, gap, is_last=columns[-1] == keys - 1)

    def _text(self, text: str) -> Text:
        from rich.text import Text

        return Text(text, no_wrap=True, overflow="crop")

    def _left(self) -> int:
        from rich.cells import cell_len

        longest = max(map(cell_len, self.found.queries.labels))
        return self._digits() + 1 + min(longest, _LABEL_WIDTH) + 1

    def _digits(self) -> int:
        return len(str(max(len(self.found.queries), len(self.found.keys))))

    def _cell(self) -> tuple[int, int]:
        """Return how wide a cell is, and the gap before it: for numbers under whole tokens, numbers, or shades."""
        from rich.cells import cell_len

        room = self.width - self._left() - _SUM
        longest = max(map(cell_len, self.found.keys.labels))
        for cell in (min(max(longest, _NUMBER_CELL), _WIDEST_CELL), _NUMBER_CELL):
            if len(self.found.keys) * (cell + 1) <= room:
                return cell, 1
        return _SHADE_CELL, 0

    def _head(self, columns: range, cell: int, gap: int, *, is_last: bool) -> Iterator[Text]:
        if not gap:  # a number stands over its column, a digit a line
            digits = self._digits()
            for place in range(digits):
                cells = "".join(f"{column + 1:{digits}}"[place].rjust(cell) for column in columns)
                end = "    sum" if is_last and place == digits - 1 else ""
                yield self._text(" " * self._left() + cells + end)
            return
        numbers = "".join(" " + str(column + 1).rjust(cell) for column in columns)
        tokens = "".join(" " + _fitted(self.found.keys.labels[column], cell, "right") for column in columns)
        yield self._text(" " * self._left() + numbers)
        yield self._text(" " * self._left() + tokens + ("    sum" if is_last else ""))

    def _row(self, row: int, columns: range, cell: int, gap: int, *, is_last: bool) -> Text:
        label = _fitted(self.found.queries.labels[row], self._left() - self._digits() - 2, "left")
        line = self._text(f"{row + 1:>{self._digits()}} {label} ")
        for column in columns:
            weight = self.matrix[row][column]
            is_hidden = self.found.is_causal and column > row
            line.append(" " * gap)
            line.append(
                " " * cell if is_hidden else self._shown(weight, cell),
                self._style(weight) if self.is_colored and not is_hidden else None,
            )
        if is_last:
            line.append(f"{sum(self.matrix[row]):{_SUM}.3f}")
        return line

    def _shown(self, weight: float, cell: int) -> str:
        shade = " " if self.is_colored else _shade(weight)
        if cell == _SHADE_CELL:
            return shade * cell
        number = "1.0" if weight >= 0.995 else f"{weight:.2f}"[1:]
        return shade * (cell - len(number)) + number

    def _style(self, weight: float) -> Style:
        from rich.color import Color
        from rich.style import Style

        share = min(max(weight, 0.0), 1.0) ** 0.5  # small weights are told apart
        red, green, blue = (
            round(light + (dark - light) * share) for light, dark in zip(_LIGHT, _DARK, strict=True)
        )
        ink = (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)
        return Style(color=Color.from_rgb(*ink), bgcolor=Color.from_rgb(red, green, blue))


def _shade(weight: float) -> str:
    return next((shade for most, shade in _SHADES if weight < most), _FULL)


def _fitted(label: str, width: int, side: str) -> str:
    """Return a label as wide as a column, cut with … where it is longer; wide characters count twice."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(label) > width:
        label = set_cell_size(label, width - 1).rstrip() + "…"
    padding = " " * (width - cell_len(label))
    return label + padding if side == "left" else padding + label
