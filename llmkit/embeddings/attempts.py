"""Batches that fail, run again in halves until what fails stands alone."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any

from llmkit.embeddings.tokens import Piece
from llmkit.tasks.inputs import RowError


class ModelFailedError(RowError):
    """The model gave nothing for one text, by no fault of the text's that is known.

    Attributes:
        cause: what it raised, or what is wrong with what it gave.
    """

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause).strip().partition("\n")[0] or type(cause).__name__)
        self.cause = cause


def attempts(run: Callable[[Sequence[Piece]], Any], pieces: Sequence[Piece]) -> list[Any]:
    """Return the vectors of each piece, or a `ModelFailedError` where the model fails on it alone.

    A batch that is too large for the memory goes through in halves.
    """
    try:
        return list(run(pieces))
    except (RuntimeError, IndexError, ValueError, MemoryError) as error:
        if len(pieces) == 1:
            return [ModelFailedError(error)]
    gc.collect()  # outside the except block: while the error lives, so do the tensors of its frames
    middle = len(pieces) // 2
    return attempts(run, pieces[:middle]) + attempts(run, pieces[middle:])
