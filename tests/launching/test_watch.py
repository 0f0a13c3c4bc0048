"""A process that says nothing is found; one that left in peace is not missed."""

from __future__ import annotations

import threading
import time

import pytest
from torch.distributed import TCPStore

from llmkit.errors import UsageError
from llmkit.launching.watch import LOST_AFTER, Watch, is_loss, silence_allowed
from llmkit.launching.worker import EXIT_LOST

SOON = 0.3


class Process:
    """What a process of the run is to its watch."""

    def __init__(self, server: TCPStore, rank: int, count: int = 3) -> None:
        self.ended = threading.Event()
        self.said: list[str] = []
        store = TCPStore(server.host, server.port, is_master=False, wait_for_workers=False)
        self.watch = Watch(store, rank, count, said=self.said.append, end=self.end, lost_after=SOON)
        self.watch.start()

    def end(self, code: int) -> None:
        assert code == EXIT_LOST
        self.watch._is_over.set()
        self.ended.set()

    def fall_silent(self) -> None:
        self.watch._is_over.set()


@pytest.fixture
def server() -> TCPStore:
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


@pytest.mark.parametrize(("silent", "finder"), [(0, 1), (1, 0), (2, 0)])
def test_a_silent_one_is_found_and_all_end(server: TCPStore, silent: int, finder: int) -> None:
    processes = [Process(server, rank) for rank in range(3)]
    processes[silent].fall_silent()
    others = [each for rank, each in enumerate(processes) if rank != silent]

    assert all(each.ended.wait(20) for each in others)
    assert f"lost sight of process {silent} of 3 (on " in processes[finder].said[0]
    assert sum(len(each.said) for each in processes) == 1, "said once"


def test_one_that_leaves_is_not_missed(server: TCPStore) -> None:
    processes = [Process(server, rank) for rank in range(3)]
    processes[2].watch.stop()
    processes[0].watch.stop()
    time.sleep(SOON * 3)

    assert not processes[1].ended.is_set()
    processes[1].watch.stop()


def test_a_store_that_is_gone_ends_all() -> None:
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    processes = [Process(server, rank) for rank in range(3)]
    del server

    assert all(each.ended.wait(20) for each in processes)
    assert "has lost the first one's machine" in processes[2].said[0]


@pytest.mark.parametrize("text", ["abc", "0", "-1", "nan", "inf", "1e300", "0.05"])
def test_a_time_that_is_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOST_AFTER, text)
    with pytest.raises(
        UsageError, match=f"LLMKIT_LOST_AFTER is '{text}': it should be from 0.1 to 86,400 seconds."
    ):
        silence_allowed()


@pytest.mark.parametrize(("text", "seconds"), [("", 60), ("0.5", 0.5), ("86400", 86_400)])
def test_a_time(text: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOST_AFTER, text)
    assert silence_allowed() == seconds


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:4"), True),
        (RuntimeError("NCCL error: unhandled system error"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("Connection closed by peer"), False),
    ],
)
def test_is_loss(error: Exception, found: bool) -> None:
    assert is_loss(error) is found
