"""How a task is run over its rows, and what a row becomes: one input of the pipeline, or several."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from llmkit.inference.long_texts import Piece

LONG_CHOICES = ("chunk", "truncate", "error")


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a task is run over its rows.

    Attributes:
        parameters: what goes into every call of the pipeline.
        batch_size: rows a batch; None sorts by length and fills a budget of tokens.
        long: chunk, truncate or error: what becomes of a text that is longer than the model takes.
        max_length: tokens, special ones included; a lower limit than the model's own.
        seed: makes sampling repeatable; each window begins with a seed made of it and the window's number.
    """

    parameters: dict[str, Any] = field(default_factory=dict)
    batch_size: int | None = None
    long: str = "chunk"
    max_length: int | None = None
    seed: int | None = None


@dataclass(slots=True)
class Item:
    """One input of the pipeline: a row, or a piece of one."""

    row_number: int
    value: Any
    parameters: dict[str, Any]
    texts: tuple[str, ...]
    piece: Piece | None = None
    length: int = 1

    @property
    def counts(self) -> int:
        """Return how many finished rows this item stands for: only a row's first piece counts."""
        return int(self.piece is None or self.piece.start == 0)
