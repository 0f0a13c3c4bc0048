"""Seeing that another process is gone: a stopped one, or one on a machine that was cut off, ends no call by itself.

Each process says now and then that it is there, from a thread, in the store where they met. The first looks after
all others, the second after the first. Whoever finds one silent says which, and all end: what waits for the lost one
in a collective would wait half an hour. Time is counted in looks, not by a clock, so that a machine that slept finds
nobody silent on waking.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from llmkit.launching.worker import EXIT_LOST
from llmkit.wanted import should_be

if TYPE_CHECKING:
    from torch.distributed import Store

LOST_AFTER = "LLMKIT_LOST_AFTER"
"""Name of the variable that says after how many seconds of silence a process is lost."""

_LOST_AFTER = 60.0
_LEAST, _MOST = 0.1, 86_400.0
_LOOKS = 10  # in that time
_TO_APPEAR = 10  # times as long may pass before a process is heard of at all: it imports libraries
_LOST = "lost"
_DONE = "done"


def silence_allowed() -> float:
    """Return after how many seconds of silence a process is lost.

    Raises:
        UsageError: the variable that says it holds no such number.
    """
    text = os.environ.get(LOST_AFTER) or str(_LOST_AFTER)
    with suppress(ValueError):
        seconds = float(text)
        if _LEAST <= seconds <= _MOST:
            return seconds
    raise should_be(f"{LOST_AFTER} is {text!r}", f"from {_LEAST} to {_MOST:,.0f} seconds")


class Watch:
    """The threads of one process that say it is there, and look after others.

    Args:
        store: shared by all processes of the run.
        said: takes the message on a process that was lost.
        end: ends this process at once, with an exit code.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        count: int,
        *,
        said: Callable[[str], None],
        end: Callable[[int], None] = os._exit,
        lost_after: float | None = None,
    ) -> None:
        self._store, self._rank, self._count = store, rank, count
        self._said, self._end = said, end
        self._lost_after = lost_after or silence_allowed()
        self._pause = self._lost_after / _LOOKS
        self._is_over = threading.Event()
        self._beats = 0
        self._seen: dict[int, tuple[bytes, int]] = {}
        # A store that does not answer must not keep the thread for long.
        store.set_timeout(timedelta(seconds=self._lost_after))
        self._threads = [
            threading.Thread(target=target, daemon=True, name=f"llmkit-{target.__name__.strip('_')}")
            for target in (self._beat, self._guard)
        ]

    def start(self) -> None:
        """Begin."""
        who = {"host": socket.gethostname(), "pid": os.getpid()}
        self._store.set(f"who/{self._rank}", json.dumps(who))
        for thread in self._threads:
            thread.start()
        atexit.register(self._end_threads)

    def stop(self) -> None:
        """Leave in peace: this process will not be missed."""
        self._end_threads()
        atexit.unregister(self._end_threads)
        try:
            self._store.set(f"beat/{self._rank}", _DONE)
        except RuntimeError:  # the launcher is gone; nobody looks
            return

    def _end_threads(self) -> None:
        """End what asks the store: a process that ends while it is asked is aborted."""
        self._is_over.set()
        self._threads[0].join()

    def _beat(self) -> None:
        """Say that this process is there; see what the others said."""
        while not self._is_over.is_set():
            try:
                self._store.set(f"beat/{self._rank}", str(self._beats + 1))
                if self._store.check([_LOST]):
                    self._leave(None)
                silent = self._silent()
            except RuntimeError:  # no answer; the guard counts
                self._is_over.wait(self._pause)
                continue
            self._beats += 1
            if silent is not None:
                self._leave(silent)
            self._is_over.wait(self._pause)

    def _silent(self) -> int | None:
        """Return a process that has said nothing for too long."""
        for rank in self._looked_after():
            key = f"beat/{rank}"
            word = self._store.get(key) if self._store.check([key]) else b""
            before, looks = self._seen.get(rank, (b"", 0))
            looks = looks + 1 if word == before and word != _DONE.encode() else 0
            self._seen[rank] = (word, looks)
            if looks > _LOOKS * (1 if word else _TO_APPEAR):
                return rank
        return None

    def _looked_after(self) -> range:
        if self._rank == 0:
            return range(1, self._count)
        return range(1) if self._rank == 1 else range(0)

    def _leave(self, silent: int | None) -> None:
        if self._is_over.is_set():
            return
        if silent is not None:
            self._said(
                f"lost sight of process {silent} of {self._count}{self._who(silent)}: nothing was heard from it "
                f"for {self._lost_after:g} seconds. It was stopped, or its machine or the link to it is down."
            )
            self._store.set(_LOST, str(silent))
        self._end(EXIT_LOST)

    def _who(self, rank: int) -> str:
        if not self._store.check([f"who/{rank}"]):
            return ", which never came"
        who = json.loads(self._store.get(f"who/{rank}"))
        return f" (on {who['host']}, pid {who['pid']})"

    def _guard(self) -> None:
        """See to it that a store that stays silent ends the process too."""
        before, looks = -1, 0
        while not self._is_over.wait(self._pause):
            looks = looks + 1 if self._beats == before else 0
            before = self._beats
            if looks > 2 * _LOOKS:
                self._said(
                    f"process {self._rank} of {self._count} has lost the first one's machine: "
                    f"its store has not answered for {2 * self._lost_after:g} seconds."
                )
                self._end(EXIT_LOST)


def is_loss(error: BaseException) -> bool:
    """Tell whether an error says that another process does not answer any more."""
    import torch

    if isinstance(error, torch.distributed.DistError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)


# What gloo and NCCL say of it.
_SIGNS = (
    "connection closed by peer",
    "connection reset by peer",
    "broken pipe",
    "gloo/transport",
    "timed out waiting",
    "nccl error",
    "socket timeout",
)
