"""Vectors of a file of texts that are kept, so that it is embedded once.

The file's name is made of everything its content follows from: the texts' file, the model, the settings.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmkit.data.cache_folder import cache_folder

MOST_BYTES = 10_000_000_000  # what is kept of all files; the ones that were not used for longest go


def kept_path(identity: dict[str, Any]) -> Path:
    """Return where the vectors are kept that follow from all this; they need not be there."""
    text = json.dumps(identity, sort_keys=True, default=str)
    return cache_folder() / "search" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npy"


def mark_used(path: Path) -> None:
    """Remember that vectors are in use, and let go of the oldest others where there are too many."""
    with suppress(OSError):
        os.utime(path)
    by_name: dict[str, list[tuple[int, int, Path]]] = {}
    for each in path.parent.glob("*.npy*"):  # also what a search left that was stopped
        with suppress(OSError):
            found = each.stat()
            by_name.setdefault(each.name.partition(".")[0], []).append(
                (found.st_mtime_ns, found.st_size, each)
            )
    size = sum(bytes_ for files in by_name.values() for _, bytes_, _ in files)
    for name, files in sorted(by_name.items(), key=lambda item: max(item[1])):
        if size <= MOST_BYTES or name == path.name.partition(".")[0]:
            return
        for _, bytes_, each in files:
            with suppress(OSError):
                each.unlink()
            size -= bytes_
