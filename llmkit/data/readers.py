"""The formats rows are read from: a registry, with one reader for each.

A reader takes a stream and gives its rows one by one, in the memory of a row. A row that cannot be read
is given as a `BadRecord` and the next one follows; what makes the whole input unreadable is a `DataError`.

- txt: a line each (`lines`).
- csv, tsv: a header row, then cells (`delimited`).
- jsonl, json: objects or strings, a line each or in an array (`json_rows`).
- squad: the questions of nested SQuAD json, which json knows by its content too (`squad`).
- conll: a sentence of words and tags each (`conll`).
- parquet: by batches (`parquet`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from llmkit.data.conll import read_conll
from llmkit.data.delimited import read_csv, read_tsv
from llmkit.data.json_rows import read_jsonl
from llmkit.data.lines import put_back as put_back
from llmkit.data.lines import read_txt, text_stream
from llmkit.data.parquet import read_parquet
from llmkit.data.records import Row
from llmkit.data.squad import read_json_or_squad, read_squad
from llmkit.errors import DataError, did_you_mean, unknown
from llmkit.plugins import Table


@dataclass(frozen=True, slots=True)
class ReadFormat:
    """A format: its name for ``--input-format``, the endings of its files, its reader."""

    name: str
    endings: tuple[str, ...]
    reader: Callable[[Any, str], Iterator[Row]]
    """Takes the stream and the name to give as the source."""
    is_text: bool = True
    """Text is decoded before the reader sees it, and may be compressed as ``.gz``."""

    def read(self, stream: BinaryIO, source: str) -> Iterator[Row]:
        """The rows of a binary stream.

        Raises:
            DataError: there is no row in it, or it cannot be read as this format.
        """
        empty = True
        for row in self.reader(text_stream(stream, source) if self.is_text else stream, source):
            empty = False
            yield row
        if empty:
            raise DataError(f"{source} is empty")


_OWN = {
    entry.name: entry
    for entry in (
        ReadFormat("txt", (".txt", ".text"), read_txt),
        ReadFormat("csv", (".csv",), read_csv),
        ReadFormat("tsv", (".tsv",), read_tsv),
        ReadFormat("json", (".json",), read_json_or_squad),
        ReadFormat("jsonl", (".jsonl", ".ndjson"), read_jsonl),
        ReadFormat("squad", (), read_squad),
        ReadFormat("conll", (".conll", ".bio", ".iob", ".iob2"), read_conll),
        ReadFormat("parquet", (".parquet",), read_parquet, is_text=False),
    )
}
READ_FORMATS = Table("llmkit.readers", _OWN, ReadFormat)


def format_named(name: str) -> ReadFormat:
    """The format called `name`, or the one with that ending.

    Raises:
        DataError: there is no such format.
    """
    by_ending = {ending.lstrip("."): entry for entry in READ_FORMATS.values() for ending in entry.endings}
    known = {**by_ending, **READ_FORMATS}
    found = known.get(name.lower().lstrip("."))
    if found is None:
        near = did_you_mean(name, known)  # an ending may be
        raise unknown("input format", name, READ_FORMATS, near=near, kind=DataError)
    return found


def format_of_ending(path: str) -> ReadFormat | None:
    """The format that the ending of `path` tells, ``.gz`` aside; None when it tells none."""
    name = path.lower()
    zipped = name.endswith(".gz")
    for entry in READ_FORMATS.values():
        if name.removesuffix(".gz").endswith(entry.endings) and (entry.is_text or not zipped):
            return entry
    return None
