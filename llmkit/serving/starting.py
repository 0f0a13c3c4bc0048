"""Starting a warm worker, one at a time, and putting one that hangs out of the way."""

from __future__ import annotations

import _socket
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llmkit.serving.client import UnusableError, connect, patience
from llmkit.serving.place import Place

LISTENING = b"L"
LOADING = "loading"
_START_PATIENCE = 120.0  # seconds: importing torch from a cold disk
_LOADING_PATIENCE = 600.0
_BETWEEN_LOOKS = 0.02


def start_worker(place: Place, module: str) -> _socket.socket:
    """Start a worker, if nobody else has in the meantime, and return a connection to it.

    Raises:
        UnusableError: it did not come to listen.
    """
    deadline = time.monotonic() + _START_PATIENCE
    with _alone(place, deadline):
        connection = connect(place)
        if connection is None:
            why = _start(place, module, deadline)
            connection = connect(place)
            while connection is None and is_locked(place.lock) and time.monotonic() < deadline:
                time.sleep(_BETWEEN_LOOKS)  # one that somebody else has started is not there yet
                connection = connect(place)
        if connection is None:
            raise UnusableError(f"it did not start{why}; {place.log} may say why")
        return connection


@contextmanager
def _alone(place: Place, deadline: float) -> Iterator[None]:
    """Let one process at a time start a worker at a place; the system lets go of the lock of one that died."""
    with os.fdopen(os.open(place.starting, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UnusableError("another call has been starting it for too long") from None
                time.sleep(_BETWEEN_LOOKS)
        yield


def _start(place: Place, module: str, deadline: float) -> str:
    """Start the process and wait until it listens or has ended; return what it ended with, in words."""
    told, tells = os.pipe()
    with Path(place.log).open("wb") as log:
        os.fchmod(log.fileno(), 0o600)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, place.name, str(tells)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            pass_fds=(tells,),
            start_new_session=True,
            preexec_fn=_forget_ignored,
        )
    os.close(tells)
    try:
        ready, _, _ = select.select([told], [], [], max(0.0, deadline - time.monotonic()))
        said = os.read(told, 1) if ready else b""
    finally:
        os.close(told)
    if said == LISTENING:
        return ""
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    return "" if process.returncode in (None, 0) else f" (exit code {process.returncode})"


def _forget_ignored() -> None:
    """Take back that this call ignores interruptions, as one in the background of a script does."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def replace_hung(place: Place, process: int | None) -> None:
    """Kill a worker that does not begin calls.

    Raises:
        UnusableError: it is loading a model, and has not been for too long: it will be there for later calls.
    """
    since = read_state(place).get(LOADING)
    if isinstance(since, int | float) and time.time() - since < _LOADING_PATIENCE:
        raise UnusableError("it is loading a model")
    if process is not None and is_locked(place.lock):
        end(place, process, signal.SIGKILL)


def end(place: Place, process: int, number: int, seconds: float | None = None) -> bool:
    """Send a signal to a worker and wait until it has gone; tell whether it has."""
    with suppress(ProcessLookupError):
        os.kill(process, number)
    deadline = time.monotonic() + (patience() if seconds is None else seconds)
    while is_locked(place.lock):
        if time.monotonic() > deadline:
            return False
        time.sleep(_BETWEEN_LOOKS)
    return True


def is_locked(path: str) -> bool:
    """Tell whether a worker lives that holds this lock."""
    try:
        with Path(path).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def read_state(place: Place) -> dict[str, object]:
    """Return what a worker said of itself last, {} where it said nothing."""
    try:
        state = json.loads(Path(place.state).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}
