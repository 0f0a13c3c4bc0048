"""Sheets as Markdown, as LaTeX, on a terminal."""

from __future__ import annotations

import io

import pytest

from llmkit.cli.sheets import Column, Sheet, as_latex, as_markdown, drawn
from tests.cli.latex import faults

SHEET = Sheet(
    "a_b",
    (
        Column("name"),
        Column("below", goes_below=True),
        Column("file", in_files_only=True),
        Column("n", is_number=True),
    ),
    (("x | y", "1 × 2", "see https://example.org/a_b.", "12,345"), ("z", "", "", "1")),
    ("total", "", "", "12,346"),
    ("A note: 5 % of --all.",),
)


def lines_on(width: int, sheet: Sheet = SHEET) -> list[str]:
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=width).print(drawn([sheet]))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_terminal_has_some_columns_below_and_some_not_at_all():
    lines = lines_on(40)
    assert lines[0] == "a_b"
    assert [line.split() for line in lines if "12,345" in line or "1 ×" in line] == [
        ["x", "|", "y", "12,345"], ["1", "×", "2"]
    ]  # fmt: skip
    assert not any("example.org" in line for line in lines)
    assert lines[-1] == "A note: 5 % of --all."


def test_a_narrow_terminal_folds_words_and_keeps_numbers():
    sheet = Sheet(
        "t", (Column("name"), Column("n", is_number=True)), (("a long name of a row", "123,456,789"),)
    )
    lines = lines_on(18, sheet)
    assert any("123,456,789" in line for line in lines)
    assert max(map(len, lines)) <= 18


def test_a_comparison_goes_on_below_where_it_has_no_room():
    sheet = Sheet(
        "t",
        (Column(""), *(Column(name, is_number=True) for name in ("first", "second-name-is-long", "third"))),
        (("words", "123,456,789", "12", ""), ("others", "", "", "987,654,321")),
        ("total", "1", "2", "3"),
        is_comparison=True,
    )
    lines = [line.split() for line in lines_on(24, sheet)]
    assert [line for line in lines if line[:1] in (["words"], ["others"], ["total"])] == [
        ["words", "123,456,789"], ["total", "1"], ["words", "12"], ["total", "2"],
        ["others", "987,654,321"], ["total", "3"],
    ]  # fmt: skip
    assert ["second-name-is-"] in lines and ["long"] in lines
    assert as_markdown([sheet]).count("total") == 1


@pytest.mark.parametrize(("width", "titles"), [(40, "name words n"), (24, "name n"), (14, "name n")])
def test_columns_that_give_way(width, titles):
    columns = (Column("name"), Column("words", gives_way=1), Column("n", is_number=True))
    sheet = Sheet("t", columns, (("row", "words that are many", "123,456"),))
    assert lines_on(width, sheet)[2].split() == titles.split()


def test_markdown():
    assert as_markdown([SHEET]).splitlines() == [
        "**a\\_b**",
        "",
        "| name | below | file | n |",
        "|---|---|---|---:|",
        "| x \\| y | 1 × 2 | see https://example.org/a_b. | 12,345 |",
        "| z |  |  | 1 |",
        "| **total** |  |  | **12,346** |",
        "",
        "- A note: 5 % of --all.",
    ]


def test_latex():
    text = as_latex([SHEET])
    assert "\\caption{a\\_b}" in text
    assert "x $|$ y & 1 $\\times$ 2 & see \\url{https://example.org/a_b}. & 12,345 \\\\" in text
    assert "A note: 5 \\% of -{}-all." in text
    assert faults(text) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a_b", "'_' as it is"),
        ("\\bogus{x}", "\\bogus"),
        ("$\\toprule$", "\\toprule in maths"),
        ("5 ⌊ 3", "'⌊' has no font"),
        ("\\begin{tabularx}{1cm}{rr} a & b \\\\ c \\\\ \\end{tabularx}", "rows of"),
    ],
)
def test_what_latex_stumbles_over_is_found(text, fault):
    assert any(each.strip().startswith(fault) for each in faults(text))


@pytest.mark.parametrize("text", ["{a", "$a", "\\begin{table} a"])
def test_what_is_open_in_latex_is_found(text):
    from pylatexenc.latexwalker import LatexWalkerParseError

    with pytest.raises(LatexWalkerParseError):
        faults(text)


@pytest.mark.parametrize("character", list("\\{}_%&#$~^<>|×−²·…→≈≤≥–—*⌊⌋"))
def test_every_character_can_be_typeset(character):
    text = as_latex([Sheet(f"a{character}b")])
    assert text.isascii()
    assert faults(text) == []


def test_a_column_in_which_nothing_stands_is_left_out_of_files():
    sheet = Sheet("t", (Column("a"), Column("b")), (("1", ""), ("2", "")), ("3", ""))
    assert "b" not in as_markdown([sheet])
