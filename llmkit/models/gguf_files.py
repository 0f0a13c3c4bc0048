"""Reading GGUF files as transformers does, without its progress bar, which no setting of its own turns off."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmkit.models.resolved import ResolvedModel

MAGIC = b"GGUF"
GGUF_FILES = "*.[gG][gG][uU][fF]"


def is_gguf(path: Path) -> bool:
    """Tell by its first bytes whether a file is GGUF."""
    with path.open("rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC


@contextmanager
def without_bar(model: ResolvedModel) -> Iterator[None]:
    """Keep the bar of the conversion off standard error in a block that loads `model`."""
    if not model.is_gguf:
        yield
        return
    from transformers import modeling_gguf_pytorch_utils as reading

    shown = reading.tqdm
    reading.tqdm = functools.partial(shown, disable=True)
    try:
        yield
    finally:
        reading.tqdm = shown
