"""Where rows come from: files, standard input, and datasets of the hub."""

from __future__ import annotations

import glob
import gzip
import io
import itertools
import json
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from llmkit.data.readers import (
    READ_FORMATS,
    ReadFormat,
    format_named,
    format_of_ending,
    put_back,
    text_stream,
)
from llmkit.data.records import Record, Row
from llmkit.errors import DataError, HubError, LlmkitError, did_you_mean
from llmkit.models.hub_errors import why_unreachable
from llmkit.models.hub_lookup import ask_hub, check_endpoint
from llmkit.models.resolved import ResolvedModel

STDIN = "stdin"

_CARD = (
    "README.md"  # the file to ask the hub for: most datasets have it, and none says that the hub is there too
)
_WAYS_ON = "Offline, give a local folder; a private one needs HF_TOKEN or `hf auth login`."
_JSON_BEGINNINGS = (b"{", b"[", b'"')
_LONGEST_FIRST_LINE = 1 << 20
_ANY_FOLDERS = re.compile(r"(?:^|(?<=/))(?:\*\*/+)*\*\*(?:/+|$)")


def read_file(path: str, *, format: str | None = None) -> Iterator[Row]:  # noqa: A002
    """The rows of a file, one by one; the format is told by its ending unless `format` names it.

    A pipe (``/dev/fd/63``) has no ending and is read as `read_stdin` does.

    Raises:
        DataError: the format is unknown (at once); the file cannot be opened, is empty or is damaged.
    """
    chosen = format_named(format) if format is not None else _format_of(path)
    return _read_path(path, chosen)


def _format_of(path: str) -> ReadFormat | None:
    """The format the ending tells; None for a pipe or a device, whose content has to tell it."""
    found = format_of_ending(path)
    if found is None and _answer(Path(path).is_file) and not path.startswith("/dev/"):
        endings = [ending for entry in READ_FORMATS.values() for ending in entry.endings]
        known = f"{', '.join(endings)} (and .gz of the text formats)"
        raise DataError(
            f"the ending of {path} tells no format; known are {known}",
            hint=f"Name its format, --input-format (or data.format): {'|'.join(READ_FORMATS)}",
        )
    return found


def _read_path(path: str, format: ReadFormat | None) -> Iterator[Row]:  # noqa: A002
    try:
        with Path(path).open("rb") as file:
            stream = gzip.GzipFile(fileobj=file) if path.lower().endswith(".gz") else file
            yield from _read_stream(cast(BinaryIO, stream), path, format)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None


def read_stdin(stream: BinaryIO, *, format: str | None = None) -> Iterator[Row]:  # noqa: A002
    """The rows of standard input, each as soon as it is there.

    Without a `format` it is plain text, a line each, unless its first line is a whole JSON object, array or
    string: then it is JSON Lines.

    Raises:
        DataError: the format is unknown (at once); the input is empty or cannot be read (when read).
    """
    return _read_stream(stream, STDIN, None if format is None else format_named(format))


def _read_stream(stream: BinaryIO, source: str, format: ReadFormat | None) -> Iterator[Row]:  # noqa: A002
    # A raw stream, such as a file opened unbuffered, cannot say "what is there by now".
    stream = (
        stream if hasattr(stream, "read1") else cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, stream)))
    )
    if format is not None:
        yield from format.read(stream, source)
        return
    text = text_stream(stream, source)
    first = text.readline(_LONGEST_FIRST_LINE)
    told = READ_FORMATS[_format_of_first_line(first)]
    yield from told.read(cast(BinaryIO, put_back(first, text, source)), source)


def _format_of_first_line(line: bytes) -> str:
    """Tell the format of a stream without a name: an array, or JSON over several lines, is a JSON document."""
    if line.strip() in (b"[", b"{") or (line.lstrip().startswith(b"[") and _is_json_line(line)):
        return "json"
    return "jsonl" if _is_json_line(line) else "txt"


def _is_json_line(line: bytes) -> bool:
    if not line.lstrip().startswith(_JSON_BEGINNINGS):
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


# ---- names of files


def expand_paths(patterns: Sequence[str]) -> list[str]:
    """The files that names and globs (``**`` too) stand for: in the order given, each file once.

    Raises:
        DataError: a file is not there, a glob matches none, a name is a folder's.
    """
    files: dict[Path, str] = {}
    for pattern in patterns:
        for path in _expand(pattern):
            files.setdefault(Path(path).resolve(), path)
    return list(files.values())


def _expand(pattern: str) -> list[str]:
    path = Path(pattern)
    if _answer(path.is_dir):
        raise DataError(f"{pattern} is a folder", hint=f"Give its files: '{path / _glob_for(path)}'")
    if path.exists():
        return [pattern]
    if not glob.has_magic(pattern):
        raise missing_file(path, pattern)
    matches = sorted({match for match in _matches(pattern) if not Path(match).is_dir()})
    if not matches:
        raise DataError(f"no file matches {pattern}")
    return matches


def _matches(pattern: str) -> Iterator[str]:
    """What a glob stands for. ``**`` goes into no folder by a link: one that leads back would have no end."""
    deep = _ANY_FOLDERS.search(pattern)
    if deep is None:
        # Path.glob would take hidden files and drop a leading "./".
        yield from glob.glob(pattern)  # noqa: PTH207
        return
    start, rest = pattern[: deep.start()], pattern[deep.end() :]
    if not rest and deep[0].endswith("/"):
        return  # folders alone
    for top in glob.glob(start) if glob.has_magic(start) else [start]:  # noqa: PTH207
        for folder in _folders_below(top):
            yield from _matches(glob.escape(folder) + (rest or "*"))


def _folders_below(top: str) -> Iterator[str]:
    """A folder and those in it that are not hidden, each as the beginning of a path."""
    for folder, inner, _ in os.walk(top or "."):
        inner[:] = [name for name in inner if not name.startswith(".")]
        path = os.path.join(folder, "")  # noqa: PTH118 - a leading "./" is kept where it was given
        yield path if top else path[2:]


def _answer(question: Callable[[], bool]) -> bool:
    """What pathlib says of a path; a locked folder on the way to it, or a name too long, is told."""
    try:
        return question()
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}") from None


def _glob_for(folder: Path) -> str:
    """A glob for the files of the most common format in `folder`, or of the most common ending."""
    endings = [file.suffix for file in _siblings(folder) if file.suffix and not file.name.startswith(".")]
    known = [ending for ending in endings if format_of_ending(ending)]
    return f"*{max(known or endings, key=(known or endings).count, default='.txt')}"


def _siblings(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def missing_file(path: Path, pattern: str) -> DataError:
    """Return the error for a file that is not there, as it was named: the nearest of its folder is in it."""
    if path.is_symlink():
        return DataError(f"{pattern} is a link to {path.readlink()}, where no file is")
    if not path.parent.is_dir():
        return DataError(f"no file {pattern}: there is no folder {path.parent}")
    return DataError(
        f"no file {pattern}", hint=did_you_mean(path.name, (file.name for file in _siblings(path.parent)))
    )


# ---- datasets


def read_dataset(name: str, *, split: str | None, revision: str | None = None) -> Iterator[Row]:
    """The rows of a dataset, streamed: ``owner/name`` or ``owner/name:config`` on the hub, a folder, a file.

    Code that comes with a dataset is never run (`datasets` 4 and later refuse it).

    Raises:
        DataError: no such config or split, or no such folder, or its files cannot be read.
        HubError: the hub did not give it: unknown, private, unreachable, offline.
    """
    if _answer(Path(name).is_file) or _is_path(name):
        _check_split(name, split, ["train"])
        return itertools.chain(*map(read_file, expand_paths([name])))
    splits = dataset_splits(name, revision)
    return dataset_rows(splits[_check_split(name, split, list(splits))], name)


def dataset_splits(name: str, revision: str | None = None) -> Mapping[str, Iterable[dict[str, Any]]]:
    """The splits of a dataset and their rows, streamed: ``owner/name``, ``owner/name:config``, or a folder.

    Raises:
        DataError: no such config, or its files cannot be read.
        HubError: the hub did not give it: unknown, private, unreachable, offline.
    """
    try:
        return _load_splits(name, revision)
    except Exception as error:
        raise _dataset_error(name, error) from None


def _is_path(name: str) -> bool:
    """A name that can only be a file's or a folder's, and that none has."""
    looks_local = name.startswith(("/", ".", "~")) or format_of_ending(name) is not None
    return looks_local and not Path(name).exists()


def _load_splits(name: str, revision: str | None) -> Mapping[str, Iterable[dict[str, Any]]]:
    import datasets

    folder = Path(name)
    if (folder / "dataset_dict.json").is_file():
        return cast(Mapping[str, Any], datasets.load_from_disk(name))
    if (folder / "state.json").is_file():
        return {"train": datasets.load_from_disk(name)}
    path, _, config = (name, "", "") if folder.exists() else name.partition(":")
    if not folder.exists():
        _check_hub(path, revision)
    _silence_libraries()
    loaded = datasets.load_dataset(path, config or None, revision=revision, streaming=True)
    return cast(Mapping[str, Any], loaded)


def _check_hub(name: str, revision: str | None) -> None:
    """Ask the hub once, with a short patience, as for models: `datasets` would ask for most of a minute.

    Raises:
        HubError: it does not answer.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return
    check_endpoint(constants.ENDPOINT)
    dataset = ResolvedModel(name, name, revision)
    failure = why_unreachable(ask_hub(dataset, _CARD, "dataset"), dataset, _CARD)
    if failure is not None:
        raise HubError(f"cannot read the dataset {name}: {failure.cause}", hint=_WAYS_ON)


def _silence_libraries() -> None:
    """Leave standard error to us: each retry is a warning of the hub's client, each resolved file a bar."""
    import datasets
    from huggingface_hub.utils import logging

    datasets.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    logging.set_verbosity_error()


def _check_split(name: str, split: str | None, splits: list[str]) -> str:
    there = f"its splits are: {', '.join(splits)}"
    if split is None and len(splits) == 1:
        return splits[0]
    if split is None:
        raise DataError(f"which split of the dataset {name}? {there}", hint=f"Name one: --split {splits[0]}")
    if split in splits:
        return split
    raise DataError(f"no split {split!r} in the dataset {name}; {there}", hint=did_you_mean(split, splits))


def dataset_rows(rows: Iterable[dict[str, Any]], name: str) -> Iterator[Row]:
    """The rows of a split as records, whatever `datasets` raises on the way explained."""
    source = f"dataset {name}"
    number = 0
    try:
        for number, values in enumerate(rows, start=1):
            yield Record(values, source, number)
    except Exception as error:
        raise _dataset_error(f"{name}, after {number:,} rows", error) from None
    if not number:
        raise DataError(f"the dataset {name} has no rows")


def _dataset_error(name: str, error: Exception) -> LlmkitError:
    """`datasets` raises anything; what is not about the call or the data is about the hub."""
    if isinstance(error, LlmkitError):
        return error
    reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
    message = f"cannot read the dataset {name}: {reason}"
    if "config name is missing" in reason.lower():
        listed = re.search(r"available configs: \[(.*)\]", str(error))
        there = f" There are: {listed[1]}." if listed else ""
        return DataError(message + there, hint=f"Name it after a colon: {name}:CONFIG")
    if isinstance(error, ValueError | RuntimeError) or Path(name.partition(",")[0]).exists():
        return DataError(message)
    return HubError(message, hint=_WAYS_ON)
