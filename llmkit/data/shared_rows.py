"""The windows of a run over rows, dealt to several processes; the first writes what all found, in the rows' order."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llmkit.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, DataError, LlmkitError, ModelError

if TYPE_CHECKING:
    from llmkit.data.row_run import Outcome, Window
    from llmkit.launching.exchange import Exchange

_ARRAY, _TUPLE = "\0array", "\0tuple"
_SIZES = struct.Struct("<QQ")  # bytes of the JSON, bytes of the arrays


class SharedRows:
    """This process's part of the windows, and the way of what it found to the first one.

    Attributes:
        counted: what the run counted of a window, to be told to the first process.
        heard: is told in the first process of another's window: its rows, and what was counted.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._others: list[Window[Any]] = []
        self.counted: Callable[[], dict[str, int]] = dict
        self.heard: Callable[[int, dict[str, int]], None] = lambda rows, counts: None

    def begin(self, rows_done: int) -> int:
        """Return how many rows an earlier run has done, as the first process knows."""
        return self._exchange.begin(rows_done)

    @property
    def is_first(self) -> bool:
        """This process writes."""
        return self._exchange.rank == 0

    def is_mine(self, window: Window[Any]) -> bool:
        """Tell whether a window is this process's; the first remembers the others'."""
        if window.number % self._exchange.count == self._exchange.rank:
            return True
        if self.is_first:
            self._others.append(window)
        return False

    def send(
        self, window: Window[Any], outcomes: Sequence[Outcome], written: Callable[[Outcome, int], Any]
    ) -> None:
        """Hand what became of a window's rows to the first process."""
        rows: list[dict[str, Any]] = []
        for index, outcome in enumerate(outcomes, start=window.start):
            if outcome.error is None:
                rows.append({"value": written(outcome, index)})
            else:
                rows.append({"reason": outcome.reason, "is_data": isinstance(outcome.error, DataError)})
        self._exchange.send(window.number, packed({"rows": rows, "counts": self.counted()}))

    def others_before(self, number: int | None) -> Iterator[tuple[Window[Any], list[Outcome]]]:
        """Go through the others' windows before one, or all that are left, each with what became of its rows.

        The value of an outcome is what the sink takes.
        """
        from llmkit.data.row_run import Outcome

        while self._others and (number is None or self._others[0].number < number):
            window = self._others.pop(0)
            # The other may wait for this: of a run that is gone on with, nothing before is to be received.
            self._exchange.received_before(window.number)
            found = unpacked(self._exchange.receive(window.number))
            outcomes = []
            for row, said in zip(window.rows, found["rows"], strict=True):
                kind = DataError if said.get("is_data") else ModelError
                error = kind(said["reason"]) if "reason" in said else None
                outcomes.append(Outcome(row[0] if isinstance(row, tuple) else row, said.get("value"), error))
            yield window, outcomes
            self.heard(len(outcomes), found["counts"])
        if number is not None:
            self._exchange.received_before(number)


class NoSink:
    """Takes what the first process alone writes."""

    def write(self, value: Any, index: int, label: str = "") -> None:
        """Take a result."""

    def reject(self, row: dict[str, Any]) -> None:
        """Take a row that failed."""

    def commit(self, rows_done: int) -> None:
        """Make nothing last."""

    def close(self, *, finished: bool) -> None:
        """End."""


def _escaped(key: str) -> str:
    """Return a key that is none of our own marks."""
    return f"\0{key}" if key.startswith("\0") else key


def packed(value: Any) -> bytes:
    """Return a value of JSON's types, tuples and arrays as bytes that nothing is unpickled from."""
    arrays: list[Any] = []

    def plain(each: Any) -> Any:
        if isinstance(each, dict):
            return {_escaped(str(key)): plain(inner) for key, inner in each.items()}
        if isinstance(each, tuple):
            return {_TUPLE: [plain(inner) for inner in each]}
        if isinstance(each, list):
            return [plain(inner) for inner in each]
        if hasattr(each, "__array__") and hasattr(each, "tobytes"):
            arrays.append(each)
            return {_ARRAY: [str(each.dtype), list(each.shape)]}
        return each

    text = json.dumps(plain(value)).encode()
    content = b"".join(each.tobytes() for each in arrays)
    return _SIZES.pack(len(text), len(content)) + text + content


def unpacked(parcel: bytes) -> Any:
    """Return what `packed` was given."""
    size, _ = _SIZES.unpack_from(parcel)
    begin = _SIZES.size + size
    at = begin

    def whole(each: Any) -> Any:
        nonlocal at
        if isinstance(each, list):
            return [whole(inner) for inner in each]
        if not isinstance(each, dict):
            return each
        if _TUPLE in each:
            return tuple(whole(inner) for inner in each[_TUPLE])
        if _ARRAY in each:
            import numpy

            kind, shape = each[_ARRAY]
            array = numpy.frombuffer(parcel, kind, int(numpy.prod(shape)), at).reshape(shape)
            at += array.nbytes
            return array
        return {key[1:] if key.startswith("\0") else key: whole(inner) for key, inner in each.items()}

    return whole(json.loads(parcel[_SIZES.size : begin]))


@contextmanager
def shared_rows(*, said: Callable[[str], None]) -> Iterator[SharedRows | None]:
    """Give this process its part of a run's rows, if it is one of several; None where it has all.

    What the first process fails with is said by it alone, and so is that it was told to stop.

    Args:
        said: takes the message on a process that was lost.

    Raises:
        SystemExit: in the others, where the first has said why.
    """
    from llmkit.launching.surroundings import check_group

    check_group()
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield None
        return
    from llmkit.launching.exchange import Exchange

    with Exchange(said=said) as exchange:
        try:
            yield SharedRows(exchange)
        except LlmkitError as error:
            if exchange.rank and exchange.is_over():
                raise SystemExit(error.exit_code) from None
            raise
        except BaseException as stop:
            if not exchange.rank or isinstance(stop, Exception | SystemExit):
                raise
            is_interrupt = isinstance(stop, KeyboardInterrupt)
            raise SystemExit(EXIT_INTERRUPTED if is_interrupt else EXIT_TERMINATED) from None
