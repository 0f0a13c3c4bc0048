"""Counts and answers that are kept, so that the second time needs neither torch nor transformers.

They follow from the config, the head, and the versions of llmkit, transformers and torch: these are their key.
A cache that cannot be read or written is no error: the count is made anew.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import re
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit._version import __version__
from llmkit.data.cache_folder import cache_folder
from llmkit.data.json_text import parse_json
from llmkit.errors import OutputError

if TYPE_CHECKING:
    from llmkit.architectures.counted import Counted

# What is kept is read by code of the same schema only; one more with every change of `counted`.
SCHEMA = 1
# Counts take 5 to 50 KB each.
MOST_BYTES = 50_000_000
_VERSION_LINE = re.compile(r"^__version__ = ['\"]([^'\"]+)", re.MULTILINE)
# Where each library says its version, without being imported.
_VERSION_FILES = {"torch": "version.py", "transformers": "__init__.py"}


@functools.cache
def versions() -> dict[str, str]:
    """Return what a count depends on besides the config, by name, without importing any of it."""
    libraries = {name: _version_of(name, file) for name, file in _VERSION_FILES.items()}
    return {
        "schema": str(SCHEMA),
        "llmkit": f"{__version__} {_newest_time(Path(__file__).parents[1])}",
        **libraries,
    }


def _newest_time(folder: Path) -> int:
    """Return the time of the newest source file: one that is worked on keeps its version for long."""
    newest = 0
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        newest = max(newest, *(os.stat(f"{root}/{name}").st_mtime_ns for name in files), 0)  # noqa: PTH116
    return newest


def _version_of(package: str, file: str) -> str:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations if spec else None) or ():
        with suppress(OSError):
            found = _VERSION_LINE.search(Path(folder, file).read_text(encoding="utf-8"))
            if found:
                return found[1]
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def key_of(**asked: Any) -> str | None:
    """Return the key of what follows from `asked` and the versions.

    None where a value is not one that JSON has: nothing is kept then.
    """
    try:
        text = json.dumps({**asked, "versions": versions()}, sort_keys=True)
    except (TypeError, ValueError):
        return None
    return hashlib.sha256(text.encode()).hexdigest()


def read_kept(key: str | None) -> Any:
    """Return the value that is kept under a key; None if there is none, or the file is damaged."""
    if key is None:
        return None
    path = _path_of(key)
    try:
        kept = parse_json(path.read_bytes())
        if kept["key"] != key or kept["check"] != _check(kept["value"]):
            return None
        value = kept["value"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    with suppress(OSError):  # the oldest go first: this one is in use
        os.utime(path)
    return value


def keep(key: str | None, value: Any) -> None:
    """Keep a value of JSON under a key, and let the oldest go where there are too many; silent where it cannot be."""
    if key is None:
        return
    from llmkit.data.atomic import write_whole

    path = _path_of(key)
    content = json.dumps({"key": key, "check": _check(value), "value": value})
    with suppress(OSError, OutputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content.encode())
        _drop_oldest(path.parent)


def _check(value: Any) -> int:
    """Return a checksum, so that a file in which a digit was changed is no answer."""
    return zlib.crc32(json.dumps(value).encode())


def read_count(key: str | None) -> Counted | None:
    """Return the count that is kept under a key; None if there is none."""
    value = read_kept(key)
    if value is None:
        return None
    from llmkit.architectures.counted import Counted

    try:
        return Counted.from_json(value)
    except (TypeError, KeyError):
        return None


def _path_of(key: str) -> Path:
    return cache_folder() / "params" / f"{key}.json"


def _drop_oldest(folder: Path) -> None:
    files = sorted(
        ((each.stat(), each) for each in folder.glob("*.json")), key=lambda pair: pair[0].st_mtime_ns
    )
    size = sum(status.st_size for status, _ in files)
    for status, path in files:
        if size <= MOST_BYTES:
            return
        path.unlink(missing_ok=True)
        size -= status.st_size
