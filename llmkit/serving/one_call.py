"""A process forked from a warm worker becomes one call of the command: its streams, folder, settings, and its end."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmkit.launching.worker import end_python
from llmkit.serving.kept import KEPT
from llmkit.serving.messages import (
    ENDED,
    NUMBER_BYTES,
    READY,
    STALE,
    Call,
    CutOffError,
    receive_call,
    receive_go,
)

_PATIENCE = 10.0
_MOST_DESCRIPTORS = 4096
_INTERRUPTED = 130
_MOST_IMPORTED = 1000


class Identity:
    """What a worker is, which a call must fit, and what a process forked from it has to undo.

    Args:
        installed, settings: see `llmkit.serving.place`.
        renew: makes a forked process as a new one is, in what the libraries had to be kept from.
        lock: the descriptor of the worker's lock, which only its first process keeps.
        settle: called when more has been loaded.
        rehearse: does what a call begins with, in a process that waits for one.
    """

    def __init__(
        self,
        installed: str,
        settings: str,
        versions: dict[str, str],
        renew: Callable[[], None],
        lock: int,
        settle: Callable[[], None],
        rehearse: Callable[[], None],
    ) -> None:
        self.installed = installed
        self.settings = settings
        self.versions = versions
        self.renew = renew
        self.settle = settle
        self.rehearse = rehearse
        self._lock = lock
        self._sources = _own_sources()

    def let_go(self) -> None:
        """Close what belongs to the worker's first process alone."""
        os.close(self._lock)

    def fits(self, call: Call) -> bool:
        """Tell whether this worker would run a call as a new process would."""
        return (
            call.installed == self.installed
            and call.settings == self.settings
            and all(_time_of(path) == time for path, time in self._sources.items())
        )


def _own_sources() -> dict[str, int]:
    """Return llmkit's files that are imported, with their times: one that is worked on changes under its worker."""
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == "llmkit"]
    paths = [path for module in modules if (path := getattr(module, "__file__", None))]
    return {path: _time_of(path) for path in paths}


def _time_of(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


def take_call(link: socket.socket, run: Callable[[], None], identity: Identity) -> int:
    """Wait for a client's connection over `link`, run its call, and return an exit code for this process.

    What the call loads is reported over `link`.
    """
    identity.renew()
    identity.rehearse()
    KEPT.rehearse()
    data, descriptors, _, _ = socket.recv_fds(link, 1, 1)
    if not data or not descriptors:
        return 0  # the worker has gone, or this process is not wanted any more
    connection = socket.socket(fileno=descriptors[0])

    def report(said: dict[str, Any]) -> None:
        with suppress(OSError):
            link.sendall(f"{json.dumps(said)}\n".encode())

    connection.settimeout(_PATIENCE)
    try:
        call = receive_call(connection)
        if not identity.fits(call):
            report({"stale": True})
            connection.sendall(STALE)
            return 0
        connection.sendall(READY + os.getpid().to_bytes(NUMBER_BYTES, "big"))
        streams = receive_go(connection)
    except (CutOffError, ValueError, OSError):
        return 0  # no client, or one that has lost patience
    connection.settimeout(None)
    has_ended = _end_with(connection)
    imported = set(sys.modules)
    KEPT.report = report
    _become(call, streams)
    code = _run(run)
    _close_all_but(connection, link)
    has_ended.set()
    with suppress(OSError):
        connection.sendall(ENDED + bytes([code]))
    report({"imported": sorted(set(sys.modules) - imported)[:_MOST_IMPORTED]})
    return code


def _end_with(connection: socket.socket) -> threading.Event:
    """Let this process be killed when its client is, that is what would have been killed; until the event is set."""
    has_ended = threading.Event()

    def watch() -> None:
        with suppress(OSError):
            connection.recv(1)
        if not has_ended.is_set():
            os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    return has_ended


def _become(call: Call, descriptors: list[int]) -> None:
    """Take on a client's streams, folder, arguments and settings."""
    *streams, folder = descriptors
    os.fchdir(folder)
    given = {int(number): descriptor for number, descriptor in zip(call.streams, streams, strict=True)}
    for number in range(3):
        if number in given:
            os.dup2(given[number], number)
        else:
            os.close(number)
    for descriptor in descriptors:
        os.close(descriptor)
    os.umask(call.umask)
    os.environ.clear()
    os.environ.update(call.environment)
    sys.argv = list(call.arguments)
    sys.stdin = _text(0, "r", sys.stdin) if 0 in given else None
    sys.stdout = _text(1, "w", sys.stdout) if 1 in given else None
    sys.stderr = _text(2, "w", sys.stderr) if 2 in given else None
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, f"__{name}__", getattr(sys, name))


def _text(number: int, mode: str, like: Any) -> io.TextIOWrapper:
    """Return a standard stream as Python itself opens it; its encoding is that of the worker's settings."""
    binary = open(number, f"{mode}b", closefd=False)  # noqa: SIM115
    is_line_buffered = mode == "w" and (number == 2 or os.isatty(number))
    stream = io.TextIOWrapper(
        binary,
        encoding=like.encoding,
        errors=like.errors,
        newline=None if mode == "r" else "\n",
        line_buffering=is_line_buffered,
    )
    stream.mode = mode  # type: ignore[misc]
    return stream


def _run(run: Callable[[], None]) -> int:
    """Run the command to its end, with all that Python does at the end of a process; return the exit code."""
    code = 0
    try:
        run()
    except SystemExit as stop:
        code = _code_of(stop)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except BaseException:
        traceback.print_exc()
        code = 1
    end_python()
    return code & 0xFF


def _code_of(stop: SystemExit) -> int:
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code
    print(stop.code, file=sys.stderr)  # noqa: T201
    return 1


def _close_all_but(*kept: socket.socket) -> None:
    """Close every descriptor: who reads the results sees their end before the client hears of it."""
    low = 0
    for number in sorted(each.fileno() for each in kept):
        os.closerange(low, number)
        low = number + 1
    os.closerange(low, _MOST_DESCRIPTORS)
