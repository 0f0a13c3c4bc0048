"""A worker that is no use to anybody leaves, so that the next call has another."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from llmkit.serving.messages import Call, send_call
from llmkit.serving.place import Place
from llmkit.serving.worker import Worker

CALL = Call("", "", 0o22, "", ["llmkit"], {})


@pytest.fixture
def signals() -> Iterator[None]:
    """A worker takes these for itself."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_one_whose_processes_end_before_a_call_has_begun_leaves(tmp_path: Path) -> None:
    def fail(call: Call) -> bool:
        raise ModuleNotFoundError("llmkit was taken away")

    def nothing() -> None: ...

    identity = SimpleNamespace(
        versions={}, let_go=nothing, renew=nothing, rehearse=nothing, settle=nothing, fits=fail
    )
    place = Place(str(tmp_path), "warm")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place.socket)
    listener.listen()
    answers = []

    def ask() -> None:
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(place.socket)
                send_call(connection, CALL)
                answers.append(connection.recv(1))

    asking = threading.Thread(target=ask)
    asking.start()
    worker = Worker(place, listener, nothing, identity, 10.0)  # type: ignore[arg-type]
    worker.work()
    asking.join()
    listener.close()

    assert answers == [b""] * 3
    assert worker.is_useless
    assert not Path(place.socket).exists()
