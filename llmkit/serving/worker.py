"""A warm worker: a process that has everything imported and models loaded, and is forked for each call.

The first process waits for calls and hands each to a process that was forked ahead, which then is that call: with
its streams, folder and settings, it runs the command as a process of its own would. Nothing that a call does can
reach another, any number run at once, and one that is killed takes nobody along.

The first process computes with one thread and touches no GPU: neither could be used any more by the processes
forked from it.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from llmkit.serving.kept import KEPT
from llmkit.serving.memory import is_scarce
from llmkit.serving.messages import peer
from llmkit.serving.one_call import Identity, take_call
from llmkit.serving.place import Place

IDLE_SETTING = "LLMKIT_WARM_IDLE"
IDLE = 600.0  # seconds
_BETWEEN_LOOKS = 2.0
_MOST_UNUSED_DEATHS = 3


@dataclass
class _Child:
    """A process forked for one call; `is_used` once it has been given one, `has_spoken` once it has told of it."""

    process: int
    link: socket.socket
    is_used: bool = False
    has_spoken: bool = False
    said: bytearray = field(default_factory=bytearray)


class Worker:
    """The first process of a worker.

    Args:
        listener: a Unix socket that listens.
        run: the command; it is run in each process forked, and ends by SystemExit.
        idle: seconds without a call after which it leaves.
    """

    def __init__(
        self,
        place: Place,
        listener: socket.socket,
        run: Callable[[], None],
        identity: Identity,
        idle: float,
    ) -> None:
        self.place = place
        self.run = run
        self.identity = identity
        self.idle = idle
        self._listener = listener
        self._children: dict[socket.socket, _Child] = {}
        self._spare: _Child | None = None
        self._unused_deaths = 0
        self._begun = self._last = time.time()
        self._calls = 0
        self._to_load: list[dict[str, Any]] = []
        self._to_import: list[str] = []
        self._imported: set[str] = set()
        self._is_leaving = False

    def work(self) -> None:
        """Serve calls until there have been none for long, memory is scarce, or somebody says so."""
        signal.signal(signal.SIGTERM, self._leave_soon)
        woken, wakes = socket.socketpair()
        wakes.setblocking(False)
        signal.set_wakeup_fd(wakes.fileno())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._listener.setblocking(False)
        self._write_state()
        while not self._should_leave():
            if self._spare is None:
                self._spare = self._fork()
            sources = [woken, self._listener, *self._children]
            ready, _, _ = select.select(sources, [], [], min(_BETWEEN_LOOKS, self.idle))
            for source in ready:
                if source is self._listener:
                    self._accept()
                elif source is not woken:
                    self._hear(self._children[source])
            if self._to_load or self._to_import:
                self._learn()
        self._leave()

    @property
    def is_useless(self) -> bool:
        """Return whether one process after the other has ended before it could begin a call."""
        return self._unused_deaths >= _MOST_UNUSED_DEATHS

    # -- when it ends

    def _leave_soon(self, number: int, frame: FrameType | None) -> None:
        self._is_leaving = True

    def _should_leave(self) -> bool:
        if self._is_leaving or self.is_useless:
            return True
        is_busy = any(child.is_used for child in self._children.values())
        return not is_busy and (time.time() - self._last > self.idle or is_scarce())

    def _leave(self) -> None:
        """Go, after what has come in already is handed on; calls that run have processes of their own."""
        for path in (self.place.socket, self.place.state):
            Path(path).unlink(missing_ok=True)
        with suppress(BlockingIOError):
            while True:
                self._accept_one()
        for child in self._children.values():
            child.link.close()

    # -- calls

    def _accept(self) -> None:
        with suppress(BlockingIOError, ConnectionError):
            self._accept_one()

    def _accept_one(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            if peer(connection)[1] != os.getuid():
                return
            for _ in range(_MOST_UNUSED_DEATHS):
                child = self._spare or self._fork()
                self._spare = None
                try:
                    socket.send_fds(child.link, [b"c"], [connection.fileno()])
                except OSError:
                    continue  # it was killed
                child.is_used = True
                self._calls += 1
                break
        self._last = time.time()
        self._write_state()

    def _fork(self) -> _Child:
        ours, theirs = socket.socketpair()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
        process = os.fork()
        if process == 0:
            self._be_child(theirs, ours, blocked)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()
        child = _Child(process, ours)
        self._children[ours] = child
        return child

    def _be_child(self, link: socket.socket, parents: socket.socket, blocked: Any) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            for other in (self._listener, parents, *self._children):
                other.close()
            self.identity.let_go()
            code = take_call(link, self.run, self.identity)
        except BaseException:
            traceback.print_exc()  # into the worker's log, or where the call's own errors go
        finally:
            os._exit(code)

    def _hear(self, child: _Child) -> None:
        """Take what a process says: lines of JSON, and that it has ended."""
        try:
            data = child.link.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self._end(child)
            return
        child.has_spoken = True
        child.said += data
        *lines, rest = bytes(child.said).split(b"\n")
        child.said = bytearray(rest)
        for line in lines:
            said = json.loads(line)
            if "loaded" in said:
                self._to_load.append(said["loaded"])
            if "imported" in said:
                self._to_import += [name for name in said["imported"] if name not in self._imported]
            if "used" in said:
                KEPT.use(said["used"])
            if "stale" in said:
                self._is_leaving = True

    def _end(self, child: _Child) -> None:
        del self._children[child.link]
        child.link.close()
        with suppress(ChildProcessError):
            os.waitpid(child.process, 0)
        if child is self._spare:
            self._spare = None
        self._unused_deaths = 0 if child.has_spoken else self._unused_deaths + 1
        self._last = time.time()
        self._write_state()

    # -- what calls had to do themselves

    def _learn(self) -> None:
        """Import and load what a call had to; the process that was forked before goes, it does not have it."""
        names, self._to_import = self._to_import, []
        models, self._to_load = self._to_load, []
        self._imported.update(names)
        self._write_state(loading=time.time())
        for name in names:
            with suppress(Exception):  # of a call's own, or for another kind of process
                importlib.import_module(name)
        for described in models:
            try:
                KEPT.load(described)
            except Exception as error:  # the model has gone, or memory has: calls load it themselves
                print(f"not kept: {error}", file=sys.stderr, flush=True)  # noqa: T201
        self.identity.settle()
        if self._spare is not None:
            spare, self._spare = self._spare, None
            del self._children[spare.link]
            spare.link.close()  # it ends by that
            with suppress(ChildProcessError):
                os.waitpid(spare.process, 0)
        self._write_state()

    def _write_state(self, loading: float | None = None) -> None:
        """Say how it stands, for `llmkit warm list` and for clients that wait."""
        state = {
            "process": os.getpid(),
            "begun": self._begun,
            "last_call": self._last,
            "calls": self._calls,
            "running": sum(child.is_used for child in self._children.values()),
            "models": KEPT.names,
            "idle_seconds": self.idle,
            "loading": loading,
            **self.identity.versions,
        }
        temporary = Path(f"{self.place.state}.tmp")
        with suppress(OSError):
            temporary.write_text(json.dumps(state), encoding="utf-8")
            temporary.replace(self.place.state)


def idle_seconds() -> float:
    """Return after how many seconds without a call a worker leaves: LLMKIT_WARM_IDLE, else 600."""
    try:
        return max(0.1, float(os.environ.get(IDLE_SETTING) or IDLE))
    except ValueError:
        return IDLE
