"""What every formatter can do: turn results into bytes, one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class Formatter(ABC):
    """Encodes results one by one.

    Attributes:
        state: what `encode` must remember from row to row; a resumed run restores it.
        lost: keys of results that came too late to have a column.
    """

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self.lost: list[str] = []

    def begin(self) -> bytes:
        """Return what stands before the first result."""
        return b""

    @abstractmethod
    def encode(self, value: Any, index: int) -> bytes:
        """Return the bytes of one result; `index` is the row's number in the input, from 0."""

    def missing(self) -> bytes:
        """Return what stands for a row that was rejected: nothing, where rows are not found by their number."""
        return b""

    def end(self) -> bytes:
        """Return what stands after the last result."""
        return b""
