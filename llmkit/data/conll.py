"""conll: a word and its tags a line, a sentence a row, a blank line after each sentence.

Columns are separated by tabs, or by spaces in a file without tabs; the first is the word, the last the tag
(https://aclanthology.org/W03-0419). ``-DOCSTART-`` lines and comments are passed over.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

from llmkit.data.lines import max_row_chars, read_lines, too_long
from llmkit.data.records import BadRecord, Record, Row

WORDS, TAGS = "words", "tags"
_DOCUMENT_MARKS = ("-DOCSTART-", "#begin document", "#end document")


class _Sentence:
    """The lines of one sentence, as far as they were read."""

    def __init__(self, source: str) -> None:
        self._source = source
        self.lines: list[list[str]] = []
        self.starts_at = 0
        self.length = 0
        self.bad: BadRecord | None = None

    def add(self, columns: list[str], number: int, length: int, limit: int) -> None:
        self.starts_at = self.starts_at or number
        self.length += length
        if self.length > limit:
            self.refuse(self.starts_at, too_long("sentence", self.length, limit))
        if self.bad is None:
            self.lines.append(columns)

    def refuse(self, number: int, reason: str) -> None:
        self.starts_at = self.starts_at or number
        self.bad = self.bad or BadRecord(self._source, number, reason)
        self.lines.clear()

    def row(self) -> Row:
        if self.bad is not None:
            return self.bad
        columns = [list(column) for column in zip(*self.lines, strict=True)]
        between = {f"column{number}": values for number, values in enumerate(columns[1:-1], start=2)}
        return Record({WORDS: columns[0], **between, TAGS: columns[-1]}, self._source, self.starts_at)


class _Layout:
    """How a file's lines are cut into columns: told by its first line, the same for all."""

    def __init__(self) -> None:
        self._width = self._told_by = 0
        self._by_tabs = False
        self._tags = {"O"}

    def columns(self, text: str) -> list[str]:
        return [cell.strip() for cell in text.split("\t")] if "\t" in text else text.split()

    def is_comment(self, text: str, columns: list[str]) -> bool:
        """Tell ``# id 17`` from the word ``#`` with its tag, and from ``#hashtag``."""
        if not text.startswith("#"):
            return False
        if self._by_tabs and "\t" not in text:
            return True
        return (text == "#" or text.startswith("# ")) and columns[-1] not in self._tags

    def problem(self, text: str, columns: list[str], number: int) -> str | None:
        """Return why a line is no word with its tags, or None; the first good one tells the layout."""
        if len(columns) < 2 or not columns[0] or not columns[-1]:
            return f"a word and its tag are expected, and the line is {_shown(text)}"
        if not self._width:
            self._width, self._told_by, self._by_tabs = len(columns), number, "\t" in text
        if len(columns) != self._width:
            return f"{len(columns)} columns, and line {self._told_by} has {self._width}: the line is {_shown(text)}"
        self._tags.add(columns[-1])
        return None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:59]}…")


def read_conll(stream: io.BufferedReader, source: str) -> Iterator[Row]:
    """The sentences: ``{"words": […], "tags": […]}``, lists of the same length; `line` is the first word's.

    Columns between the word and the last one are given as ``column2``, ``column3``, …. A sentence with a line
    that has too few columns is a `BadRecord` with the number of that line.
    """
    limit = max_row_chars()
    layout, sentence = _Layout(), _Sentence(source)
    for line in read_lines(stream, source):
        text = line.content.rstrip()
        if line.reason is not None:
            sentence.refuse(line.number, line.reason)
        elif not text or text.startswith(_DOCUMENT_MARKS):
            if sentence.starts_at:
                yield sentence.row()
            sentence = _Sentence(source)
        else:
            columns = layout.columns(line.content.rstrip(" \r"))
            if layout.is_comment(text, columns):
                continue
            if problem := layout.problem(text, columns, line.number):
                sentence.refuse(line.number, problem)
            else:
                sentence.add(columns, line.number, len(text), limit)
    if sentence.starts_at:
        yield sentence.row()
