"""From files to examples: read and tokenized once, kept as an Arrow file, memory-mapped from then on.

The file's name is made of everything its content follows from, so that the same data, tokenizer and settings are
never tokenized twice, and others never taken for them.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit._version import __version__
from llmkit.data.atomic import explained_write
from llmkit.data.cache_folder import cache_folder
from llmkit.data.records import BadRecord, Record
from llmkit.data.sources import expand_paths, read_file
from llmkit.errors import DataError
from llmkit.training.hub_sets import HUB_PREFIX, hub_rows
from llmkit.training.objectives.base import Objective
from llmkit.training.objectives.batch import Example

if TYPE_CHECKING:
    import pyarrow

_ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class Examples:
    """A set of examples that lie in a file.

    Attributes:
        table: a memory-mapped table; column `place` says where each row came from: ``reviews.csv:17``.
        lengths: tokens of each example, four bytes each.
        identity: a hash of what the examples follow from.
        numbers: the examples of the table that are in the set, in their order; None for all.
    """

    table: pyarrow.Table
    lengths: array[int]
    identity: str
    numbers: array[int] | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def _batches(self) -> list[pyarrow.RecordBatch]:
        return self.table.to_batches()

    @cached_property
    def _begins(self) -> list[int]:
        return [0, *accumulate(len(batch) for batch in self._batches)]

    def take(self, numbers: Iterable[int]) -> list[Example]:
        """Return examples by their numbers."""
        # Not table.take: that copies the whole table together first.
        found: list[Example] = []
        for number in numbers:
            row = self._in_table(number)
            batch = bisect_right(self._begins, row) - 1
            found += self._batches[batch].slice(row - self._begins[batch], 1).to_pylist()
        return found

    def place(self, number: int) -> str:
        """Return where an example came from."""
        return str(self.table.column("place")[self._in_table(number)].as_py())

    def column(self, name: str) -> Iterator[Any]:
        """Go through one value of all examples, in the set's order, a thousand in memory at a time."""
        numbers = range(len(self)) if self.numbers is None else self.numbers
        for batch, begin in zip(self._batches, self._begins, strict=False):
            first, last = (bisect_left(numbers, at) for at in (begin, begin + len(batch)))
            inside = [numbers[index] - begin for index in range(first, last)]
            yield from batch.column(name).take(inside).to_pylist() if inside else ()

    def subset(self, numbers: Sequence[int]) -> Examples:
        """Return some of the examples, by their numbers in rising order, as a set of their own."""
        inside = array("q", (self._in_table(number) for number in numbers))
        digest = hashlib.sha256(self.identity.encode() + inside.tobytes()).hexdigest()[:32]
        return Examples(self.table, array("i", (self.lengths[number] for number in numbers)), digest, inside)

    def _in_table(self, number: int) -> int:
        return number if self.numbers is None else self.numbers[number]


def read_rows(
    files: Iterable[str],
    format: str | None,  # noqa: A002
    limit: int | None = None,
    *,
    wanted: str = "train",
) -> Iterator[Record]:
    """Go through the rows of files and hub datasets, one after the other.

    Args:
        wanted: train, validation or test: tells which split of a hub dataset is meant where none is named.

    Raises:
        DataError: a file cannot be read, or one of its rows; the message names the line.
    """
    count = 0
    for name in files:
        for row in _rows_of(name, format, wanted):
            if isinstance(row, BadRecord):
                raise DataError(f"{row.place}: {row.reason}.")
            yield row
            count += 1
            if limit is not None and count >= limit:
                return


def _rows_of(name: str, format: str | None, wanted: str) -> Iterator[Record | BadRecord]:  # noqa: A002
    if name.startswith(HUB_PREFIX):
        yield from hub_rows(name, wanted)
        return
    path = Path(name)
    patterns = [str(each) for each in _files_of_folder(path)] if path.is_dir() else [name]
    for file in expand_paths(patterns):
        yield from read_file(file, format=format)


def _files_of_folder(path: Path) -> list[Path]:
    """Return the files of a folder but the hidden ones.

    Raises:
        DataError: there are none.
    """
    files = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
    if not files:
        raise DataError(
            f"the folder {path} has no files in it.",
            hint="Folders within it are not read: name the one that is meant.",
        )
    return files


def identity_of(
    objective: Objective, files: Sequence[str], extra: Mapping[str, Any], *, wanted: str = "train"
) -> str:
    """Return a hash of what examples follow from: the files' content, the tokenizer, the settings.

    Args:
        wanted: the set that they are for, as of `read_rows`: which split of a hub dataset that is.
    """
    digest = hashlib.sha256()
    if any(name.startswith(HUB_PREFIX) for name in files):
        extra = {**extra, "set": wanted}
    settings = {
        "llmkit": __version__,
        "task": objective.task,
        "facts": objective.facts(),
        "max_length": objective.max_length,
        "data": objective.config.data.model_dump(exclude={"train", "validation", "test"}),
        "tokenizer": tokenizer_identity(objective.tokenizer),
        **extra,
    }
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    digest.update(files_digest(files).encode())
    return digest.hexdigest()[:32]


def files_digest(files: Iterable[str]) -> str:
    """Return a hash of files' names and content; of a hub dataset the name alone."""
    digest = hashlib.sha256()
    for name in files:
        digest.update(name.encode() + b"\0")
        for file in _files_in(name):
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _files_in(name: str) -> list[Path]:
    if name.startswith(HUB_PREFIX):
        return []
    path = Path(name)
    if path.is_dir():
        return _files_of_folder(path)
    return [Path(each) for each in expand_paths([name])]


def tokenizer_identity(tokenizer: Any) -> str:
    """Return a hash of a tokenizer: its vocabulary, its rules and its special tokens.

    How it cuts and pads is no part of it: each call sets that, and what was left is only what the last one wanted.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = json.loads(backend.to_str()) if backend is not None else tokenizer.get_vocab()
    if backend is not None:
        rules |= {"truncation": None, "padding": None}
    parts = [
        json.dumps(rules, sort_keys=True),
        json.dumps(tokenizer.special_tokens_map, default=str),
        str(getattr(tokenizer, "chat_template", "")),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def prepare_examples(
    objective: Objective, records: Callable[[], Iterable[Record]], identity: str, where: str = "the data"
) -> Examples:
    """Return the examples of a set, from the cache or encoded now: by one process, while the others wait.

    Raises:
        DataError: a row cannot be learned from; the message names its file and line.
    """
    path = cache_folder() / "examples" / f"{identity}.arrow"
    if not path.exists():
        with alone(path):
            if not path.exists():
                _encode(objective, records(), path, where)
    return _open(path, identity)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Let one process at a time go on; the system frees the place of one that is killed.

    No collective of torch: that would have to end within a time, and a large file takes hours.
    """
    import fcntl

    with explained_write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".lock").open("w")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _encode(objective: Objective, records: Iterable[Record], path: Path, where: str) -> None:
    """Write the examples of rows to a file, a thousand rows in memory at a time."""
    import pyarrow

    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with explained_write(path):
        writer = None
        try:
            with pyarrow.OSFile(str(temporary), "wb") as sink:
                for batch in _batches(_examples_of(objective, records)):
                    table = pyarrow.Table.from_pylist(batch, schema=writer and writer.schema)
                    writer = writer or _Writer(pyarrow.ipc.new_file(sink, table.schema), table.schema)
                    writer.stream.write_table(table)
                if writer is None:
                    raise DataError(f"{where}: there are no rows to learn from.")
                writer.stream.close()
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()


@dataclass(frozen=True, slots=True)
class _Writer:
    stream: Any
    schema: Any


def _examples_of(objective: Objective, records: Iterable[Record]) -> Iterator[Example]:
    for example in objective.encode_all(records):
        yield {**example, "length": objective.length_of(example)}


def _batches(examples: Iterable[Example]) -> Iterator[list[Example]]:
    batch: list[Example] = []
    for example in examples:
        batch.append(example)
        if len(batch) == _ROWS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _open(path: Path, identity: str) -> Examples:
    import pyarrow

    table = pyarrow.ipc.open_file(pyarrow.memory_map(str(path))).read_all()
    lengths = array("i")
    for chunk in table.column("length").chunks:
        lengths.extend(chunk.to_pylist())
    return Examples(table, lengths, identity)
