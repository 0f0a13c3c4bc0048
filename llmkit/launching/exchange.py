"""What the processes of a run hand to the first one, in pieces and in turn, through the store where they met."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING

from llmkit.errors import LostProcessError
from llmkit.launching.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.distributed import Store

_PIECE = 4 << 20  # bytes; the store takes at most 8 MiB at once
_A_LOOK = timedelta(seconds=1)
_AHEAD = 8  # parcels a process may be ahead of what was received
_OVER = "over"


class Exchange:
    """Parcels by their numbers, from the others to the first; a context manager that the others outlive by a moment.

    Args:
        said: takes the message on a process that was lost.
    """

    def __init__(self, *, said: Callable[[str], None]) -> None:
        self.rank = int(os.environ["RANK"])
        self.count = int(os.environ["WORLD_SIZE"])
        self._said = said
        self._received = 0

    def __enter__(self) -> Exchange:
        from torch.distributed import PrefixStore, TCPStore, rendezvous

        store, _, _ = next(rendezvous("env://"))
        self._store: Store = PrefixStore("exchange", store)
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        own = TCPStore(address, port, is_master=False, wait_for_workers=False)
        self._watch = Watch(PrefixStore("watch", own), self.rank, self.count, said=self._said)
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.stop()
        if self.rank == 0:
            with suppress(RuntimeError):  # the launcher is gone
                self._store.set(_OVER, "")

    def begin(self, rows_done: int | None = None) -> int:
        """Return how many rows are done already; the first process says it.

        Raises:
            LostProcessError: the first process has ended.
        """
        if self.rank == 0:
            self._store.set("begin", str(rows_done))
        return int(self._get("begin"))

    def send(self, number: int, parcel: bytes) -> None:
        """Hand a parcel to the first process, once it is not too far behind.

        Raises:
            LostProcessError: the first process has ended.
        """
        if number >= _AHEAD * self.count:
            self._get(f"received/{number - _AHEAD * self.count}")
        pieces = [parcel[start : start + _PIECE] for start in range(0, len(parcel), _PIECE)]
        for index, piece in enumerate(pieces):
            self._store.set(f"parcel/{number}/{index}", piece)  # type: ignore[arg-type]  # it takes bytes too
        self._store.set(f"parcel/{number}", str(len(pieces)))

    def receive(self, number: int) -> bytes:
        """Wait for a parcel of another process.

        Raises:
            LostProcessError: it does not come.
        """
        count = int(self._get(f"parcel/{number}"))
        keys = [f"parcel/{number}/{index}" for index in range(count)]
        parcel = b"".join(self._store.get(key) for key in keys)
        for key in keys:
            self._store.delete_key(key)
        return parcel

    def received_before(self, number: int) -> None:
        """Let the others go on: all parcels below a number are done with."""
        for done in range(self._received, number):
            self._store.set(f"received/{done}", "")
        self._received = max(self._received, number)

    def is_over(self) -> bool:
        """Tell whether the first process has ended, or does within a moment."""
        with suppress(RuntimeError):
            self._store.wait([_OVER], _A_LOOK)
            return True
        return False

    def _get(self, key: str) -> bytes:
        from torch.distributed import DistStoreError

        while True:
            with suppress(DistStoreError):  # not yet
                self._store.wait([key], _A_LOOK)
                return self._store.get(key)
            if self.rank and self._store.check([_OVER]):
                raise LostProcessError("the first process has ended.")
