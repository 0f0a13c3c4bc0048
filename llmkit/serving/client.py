"""A call of the command handed over to a warm worker, which runs it on this process's own streams.

Everything that a call costs beside the worker's answer is spent here, so this imports next to nothing: what Python
itself has loaded by then, and what comes without a file of its own.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` is it with names for its numbers, by `enum`
import _socket
import os
import sys

from llmkit.serving.messages import (
    ENDED,
    NUMBER_BYTES,
    READY,
    Call,
    CutOffError,
    peer,
    receive,
    send_call,
    send_go,
)
from llmkit.serving.place import NoPlaceError, Place, installed, place_for, settings_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

WARM_SETTING = "LLMKIT_WARM"
YES, NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
PATIENCE_SETTING = "LLMKIT_WARM_PATIENCE"
PATIENCE = 10.0  # seconds that a worker may take to begin
_TRIES = 4
_HANDED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_INTERRUPTED = 130
_KILLED = 1


class UnusableError(Exception):
    """No worker can be had; the message says why."""


class _NotBegunError(Exception):
    """The worker did not begin the call: it has gone, is of another version, or does not answer."""

    def __init__(self, process: int | None = None, *, hangs: bool = False) -> None:
        super().__init__()
        self.process = process
        self.hangs = hangs


def wants_warm(arguments: list[str], environment: dict[str, str]) -> bool:
    """Tell whether a call asks for the warm worker; what else it says is not looked at."""
    if not arguments or arguments[0] != "pipeline" or "_LLMKIT_COMPLETE" in environment:
        return False
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--help" in options or "-h" in options or "--no-warm" in options:
        return False
    return "--warm" in options or environment.get(WARM_SETTING, "").lower() in YES


def check_setting(environment: dict[str, str]) -> None:
    """Check what is said for every call.

    Raises:
        UsageError: it is neither a yes nor a no.
    """
    from llmkit.errors import UsageError

    setting = environment.get(WARM_SETTING, "")
    if setting.lower() not in (*YES, *NO):
        raise UsageError(f"{WARM_SETTING} is '{setting}'.", hint="Say 1 for every call in a worker, or 0.")


def run_warm(module: str) -> int:
    """Have a worker run this process's call, started if need be, and return the exit code.

    Args:
        module: what a worker's process runs; it is given the place's name and a descriptor to tell.

    Raises:
        UnusableError: no worker can be had, and nothing of the call was done.
    """
    if not hasattr(_socket, "SO_PEERCRED"):
        raise UnusableError("this system does not say who is at the other end of a socket")
    environment = dict(os.environ)
    settings = settings_of(environment)
    try:
        place = place_for(settings)
    except NoPlaceError as error:
        raise UnusableError(str(error)) from None
    streams = "".join(str(number) for number in range(3) if _is_open(number))
    call = Call(installed(), settings, _umask(), streams, sys.argv, environment)
    for _ in range(_TRIES):
        try:
            return _run(_connected(place, module), call)
        except _NotBegunError as failure:
            if failure.hangs:
                from llmkit.serving.starting import replace_hung

                replace_hung(place, failure.process)
        except KeyboardInterrupt:
            os.write(2, b"warning: interrupted.\n")
            return _INTERRUPTED
    raise UnusableError(f"it did not begin; {place.log} may say why")


def _connected(place: Place, module: str) -> _socket.socket:
    """Return a connection to the worker, which is started if there is none.

    Raises:
        UnusableError: it cannot be started, or what listens there is another user's.
    """
    connection = connect(place)
    if connection is None:
        from llmkit.serving.starting import start_worker

        connection = start_worker(place, module)
    if peer(connection)[1] != os.getuid():
        raise UnusableError(f"{place.socket} is another user's")
    return connection


def connect(place: Place) -> _socket.socket | None:
    """Return a connection to what listens at a place, None where nobody does."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.settimeout(patience())
    try:
        connection.connect(place.socket)
    except OSError:
        connection.close()
        return None
    return connection


def patience() -> float:
    """Return how many seconds a worker may take to begin a call: LLMKIT_WARM_PATIENCE, else 10."""
    try:
        return max(0.1, float(os.environ.get(PATIENCE_SETTING) or PATIENCE))
    except ValueError:
        return PATIENCE


def _run(connection: _socket.socket, call: Call) -> int:
    """Have the call run by the process at the other end; return the exit code.

    Raises:
        _NotBegunError: it was not begun.
    """
    worker, _ = peer(connection)
    here = os.open(".", getattr(os, "O_PATH", os.O_RDONLY))
    try:
        send_call(connection, call)
        answer = receive(connection, 1)
        if answer != READY:
            raise _NotBegunError
        process = int.from_bytes(receive(connection, NUMBER_BYTES), "big")
        connection.settimeout(None)
        handed_on = _hand_on_signals(process)
        send_go(connection, [*map(int, call.streams), here])
    except (CutOffError, OSError) as error:
        connection.close()
        raise _NotBegunError(worker, hangs="timed out" in str(error)) from None
    finally:
        os.close(here)
    try:
        ended = receive(connection, 2)
    except CutOffError:
        ended = b""
    if ended[:1] != ENDED:
        for number in handed_on[-1:]:  # that ended it, and ends this process in the same way
            _signal.signal(number, _signal.SIG_DFL)
            os.kill(os.getpid(), number)
        os.write(2, b"error: the warm worker's process was killed while it ran this call.\n")
        return _KILLED
    return ended[1]


def _hand_on_signals(process: int) -> list[int]:
    """Let the process that runs the call have the signals that this one gets; they are added to the list returned."""
    handed_on: list[int] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        handed_on.append(number)
        try:
            os.kill(process, number)
        except ProcessLookupError:
            return  # it has just ended

    def stop(number: int, frame: FrameType | None) -> None:
        for each in (process, os.getpid()):
            os.kill(each, _signal.SIGSTOP)
        os.kill(process, _signal.SIGCONT)

    for name in _HANDED_ON:
        number = getattr(_signal, name)
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, hand_on)
    if _signal.getsignal(_signal.SIGTSTP) != _signal.SIG_IGN:
        _signal.signal(_signal.SIGTSTP, stop)
    return handed_on


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
