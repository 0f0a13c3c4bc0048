"""Where llmkit keeps what it can make again: counts, tokenized data, trained tokenizers."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_SETTING = "LLMKIT_CACHE"


def cache_folder() -> Path:
    """Return the folder: LLMKIT_CACHE, else $XDG_CACHE_HOME/llmkit, else ~/.cache/llmkit; it need not exist."""
    setting = os.environ.get(CACHE_SETTING)
    if setting:
        return Path(setting)
    base = os.environ.get("XDG_CACHE_HOME")
    # Path.expanduser raises where there is no home.
    return Path(base, "llmkit") if base else Path(os.path.expanduser("~/.cache/llmkit"))  # noqa: PTH111
