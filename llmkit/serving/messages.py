"""What a warm call and the process that runs it say to each other over the socket.

    client                                    a process of the worker
    LENGTH, CALL                       ->
                                       <-     READY and the number of the process, or STALE
    GO and the call's descriptors      ->
                                       <-     ENDED and the exit code

Until it hears GO the process has done nothing: a client that has lost patience and has closed the socket is sure
that its call is run by nobody else. Nor does it hold the call's streams: one that hangs would keep whoever reads
them waiting for their end.
"""

from __future__ import annotations

import _socket  # `socket` takes as long to import as the rest of a warm call's client, and `struct` is a file too
import os
import sys

READY, STALE, GO, ENDED = b"R", b"S", b"G", b"E"
NUMBER_BYTES = 8
MOST_BYTES = 64 << 20
DESCRIPTORS = 4
_INT_BYTES = 4  # of C's int


class CutOffError(Exception):
    """The other side has gone."""


class Call:
    """One call of the command, as its process was started.

    Args:
        installed, settings: see `llmkit.serving.place`.
        umask: the mask for files that are made.
        streams: which of the descriptors 0, 1 and 2 are open, as in ``"012"``.
    """

    def __init__(
        self,
        installed: str,
        settings: str,
        umask: int,
        streams: str,
        arguments: list[str],
        environment: dict[str, str],
    ) -> None:
        self.installed = installed
        self.settings = settings
        self.umask = umask
        self.streams = streams
        self.arguments = arguments
        self.environment = environment

    def encode(self) -> bytes:
        """Return it as bytes: neither arguments nor settings can hold a NUL."""
        head = [self.installed, self.settings, str(self.umask), self.streams, str(len(self.arguments))]
        settings = [f"{name}={value}" for name, value in self.environment.items()]
        return b"\0".join(map(os.fsencode, (*head, *self.arguments, *settings)))

    @classmethod
    def decode(cls, data: bytes) -> Call:
        """Return the call in some bytes.

        Raises:
            ValueError: there is none.
        """
        installed, settings, umask, streams, count, *rest = map(os.fsdecode, data.split(b"\0"))
        arguments, pairs = rest[: int(count)], rest[int(count) :]
        environment = {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
        return cls(installed, settings, int(umask), streams, arguments, environment)


def send_call(connection: _socket.socket, call: Call) -> None:
    """Send a call with its length.

    Raises:
        CutOffError: nobody takes it.
    """
    data = call.encode()
    try:
        connection.sendall(len(data).to_bytes(NUMBER_BYTES, "big") + data)
    except OSError as error:
        raise CutOffError(str(error)) from error


def receive_call(connection: _socket.socket) -> Call:
    """Receive what `send_call` sent.

    Raises:
        CutOffError: it did not come whole.
        ValueError: it is no call.
    """
    length = int.from_bytes(receive(connection, NUMBER_BYTES), "big")
    if length > MOST_BYTES:
        raise CutOffError("no call of llmkit")
    return Call.decode(receive(connection, length))


def send_go(connection: _socket.socket, descriptors: list[int]) -> None:
    """Send GO, and copies of descriptors with it.

    Raises:
        OSError: nobody takes them.
    """
    rights = b"".join(number.to_bytes(_INT_BYTES, sys.byteorder) for number in descriptors)
    connection.sendmsg([GO], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])


def receive_go(connection: _socket.socket) -> list[int]:
    """Receive what `send_go` sent: the descriptors.

    Raises:
        CutOffError: it did not come.
    """
    room = _socket.CMSG_SPACE(DESCRIPTORS * _INT_BYTES)
    try:
        said, extra, _, _ = connection.recvmsg(1, room)
    except OSError as error:
        raise CutOffError(str(error)) from error
    descriptors = [
        number
        for level, kind, rights in extra
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS)
        for number in _ints(rights)
    ]
    if said != GO or not descriptors:
        raise CutOffError("no word to go")
    return descriptors


def receive(connection: _socket.socket, count: int) -> bytes:
    """Receive so many bytes.

    Raises:
        CutOffError: the other side has gone before.
    """
    parts = []
    while count:
        try:
            part = connection.recv(min(count, 1 << 20))
        except OSError as error:  # a time-out too
            raise CutOffError(str(error)) from error
        if not part:
            raise CutOffError("the other side has closed the socket")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def peer(connection: _socket.socket) -> tuple[int, int]:
    """Return the number of the process at the other end of a Unix socket, and of its user."""
    said = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 3 * _INT_BYTES)
    process, user, _ = _ints(said)
    return process, user


def _ints(data: bytes) -> list[int]:
    """Return what C's ints in some bytes say."""
    starts = range(0, len(data) - _INT_BYTES + 1, _INT_BYTES)
    return [int.from_bytes(data[start : start + _INT_BYTES], sys.byteorder, signed=True) for start in starts]
