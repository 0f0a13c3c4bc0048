"""Sheets: small tables with a title and notes, drawn for a terminal, as Markdown, as LaTeX or as text.

Their cells are text for a person; a program is given JSON or CSV instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmkit.cli.sheet_fit import fitted

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, Group
    from rich.table import Table
    from rich.text import Text


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        is_number: to the right, and never broken or cut; other columns take several lines where they must.
        goes_below: on a terminal its cells stand below those of the column before it.
        in_files_only: a terminal has no room for it.
        gives_way: on a terminal that is too narrow the columns of 1 are left out first, then those of 2, …; 0: never.
    """

    title: str
    is_number: bool = False
    goes_below: bool = False
    in_files_only: bool = False
    gives_way: int = 0


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table.

    Attributes:
        total: a last row, set off from the others.
        notes: sentences under it.
        is_comparison: its first column labels the rows, and is repeated where a terminal breaks the others up.
    """

    title: str
    columns: tuple[Column, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    total: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    is_comparison: bool = False


def drawn(sheets: Sequence[Sheet]) -> Group:
    """Return the sheets as Rich draws them."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = []
    for number, sheet in enumerate(sheets):
        parts += [Text()] if number else []
        parts += [Text(sheet.title, style="bold"), Text()]
        parts += [_Tables(sheet)] if sheet.columns else []
        parts += [Text(), *map(Text, sheet.notes)] if sheet.notes else []
    return Group(*parts)


@dataclass(frozen=True, slots=True)
class _Tables:
    """The tables of a sheet, made when Rich knows how wide the terminal is."""

    sheet: Sheet

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table | Text]:
        from rich.text import Text

        for number, sheet in enumerate(fitted(self.sheet, options.max_width)):
            if number:
                yield Text()
            yield _rich_table(sheet)


def _rich_table(sheet: Sheet) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    rows = [*map(_on_terminal, [sheet] * len(sheet.rows), sheet.rows)]
    total = _on_terminal(sheet, sheet.total) if sheet.total else ()
    shown = [column for column in sheet.columns if not (column.goes_below or column.in_files_only)]
    for place, column in enumerate(shown):
        widest = max((len(cells[place]) for cells in [*rows, *([total] if total else [])]), default=0)
        title = max(map(len, column.title.split("\n")))
        table.add_column(
            Text(column.title),
            justify="right" if column.is_number else "left",
            no_wrap=column.is_number,
            min_width=max(widest, title) if column.is_number else None,
            overflow="fold",
        )
    for number, row in enumerate(rows):
        table.add_row(*map(_two_tones, row), end_section=bool(total) and number == len(rows) - 1)
    if total:
        table.add_row(*(Text(cell, style="bold") for cell in total))
    return table


def _on_terminal(sheet: Sheet, row: Sequence[str]) -> list[str]:
    cells: list[str] = []
    for column, cell in zip(sheet.columns, row, strict=True):
        if column.in_files_only:
            continue
        if not column.goes_below:
            cells.append(cell)
        elif cell and cell != cells[-1]:
            cells[-1] = f"{cells[-1]}\n{cell}" if cells[-1] else cell
    return cells


def _two_tones(cell: str) -> Text:
    """Return a cell whose later lines are dimmer than its first."""
    from rich.text import Text

    first, newline, rest = cell.partition("\n")
    return Text.assemble(first, (newline + rest, "dim"))


def as_markdown(sheets: Sequence[Sheet]) -> str:
    """Return the sheets as GitHub's Markdown."""
    return "\n\n".join("\n\n".join(_markdown_parts(_filled(sheet))) for sheet in sheets) + "\n"


def _filled(sheet: Sheet) -> Sheet:
    """Return a sheet without the columns in which nothing stands."""
    kept = [place for place in range(len(sheet.columns)) if any(row[place] for row in sheet.rows)]
    return replace(
        sheet,
        columns=tuple(sheet.columns[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in sheet.rows),
        total=tuple(sheet.total[place] for place in kept) if sheet.total else (),
    )


def _markdown_parts(sheet: Sheet) -> Iterator[str]:
    yield f"**{_markdown(sheet.title)}**"
    if sheet.columns:
        head = _markdown_row([column.title for column in sheet.columns])
        rule = "|" + "|".join("---:" if column.is_number else "---" for column in sheet.columns) + "|"
        rows = [_markdown_row(row) for row in sheet.rows]
        total = [_markdown_row([f"**{cell}**" if cell else "" for cell in sheet.total], plain=False)]
        yield "\n".join([head, rule, *rows, *(total if sheet.total else [])])
    if sheet.notes:
        yield "\n".join(f"- {_markdown(note)}" for note in sheet.notes)


def _markdown_row(cells: Sequence[str], *, plain: bool = True) -> str:
    return "| " + " | ".join(_markdown(cell) if plain else cell for cell in cells) + " |"


_MARKDOWN_MARKS = re.compile(r"([\\`*_{}\[\]<>|#~])")
_LINK = re.compile(r"https?://\S+?(?=[.,;)]*(?:\s|$))")


def _markdown(text: str) -> str:
    """Return text whose marks are not taken for Markdown's; addresses stay as they are."""
    return _outside_links(text, lambda part: _MARKDOWN_MARKS.sub(r"\\\1", part).replace("\n", "<br>"), str)


def _outside_links(text: str, change: Callable[[str], str], link: Callable[[str], str]) -> str:
    parts, end = [], 0
    for match in _LINK.finditer(text):
        parts += [change(text[end : match.start()]), link(match[0])]
        end = match.end()
    return "".join([*parts, change(text[end:])])


_LATEX: Mapping[str, str] = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#",
    "$": r"\$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "|": r"$|$",
    "×": r"$\times$", "−": r"$-$", "²": r"$^2$", "·": r"$\cdot$", "…": r"\ldots{}", "→": r"$\to$", "≈": r"$\approx$",
    "≤": r"$\le$", "≥": r"$\ge$", "⌊": r"$\lfloor$", "⌋": r"$\rfloor$",
    "–": "--", "—": "---", "*": r"$*$", "\0": "{}", "\n": " ",
}  # fmt: skip


_FOLDED = r">{\raggedright\arraybackslash}X"


def as_latex(sheets: Sequence[Sheet]) -> str:
    r"""Return the sheets as LaTeX tables as wide as the page, which need booktabs, tabularx and hyperref."""
    head = "% \\usepackage{booktabs,tabularx,hyperref}\n"
    return head + "\n".join(_latex_table(_filled(sheet)) for sheet in sheets)


def _latex_table(sheet: Sheet) -> str:
    lines = ["\\begin{table}", "  \\centering", f"  \\caption{{{_latex(sheet.title)}}}"]
    if sheet.columns:
        kinds = "".join("r" if column.is_number else _FOLDED for column in sheet.columns)
        lines += [f"  \\begin{{tabularx}}{{\\linewidth}}{{{kinds}}}", "    \\toprule"]
        lines += [_latex_row([column.title for column in sheet.columns]), "    \\midrule"]
        lines += [_latex_row(row) for row in sheet.rows]
        lines += ["    \\midrule", _latex_row(sheet.total)] if sheet.total else []
        lines += ["    \\bottomrule", "  \\end{tabularx}"]
    if sheet.notes:
        notes = " ".join(_latex(note) for note in sheet.notes)
        lines += ["", f"  \\smallskip\\parbox{{\\linewidth}}{{\\footnotesize {notes}}}"]
    return "\n".join([*lines, "\\end{table}", ""])


def _latex_row(cells: Sequence[str]) -> str:
    return f"    {' & '.join(map(_latex, cells))} \\\\"


def _latex(text: str) -> str:
    return _outside_links(
        text,
        lambda part: "".join(_LATEX.get(each, each) for each in part.replace("--", "-\0-")),
        lambda link: f"\\url{{{link}}}",
    )
