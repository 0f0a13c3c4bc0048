"""Machines meet, and meet again after one was lost or begun anew."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from torch.distributed.elastic.rendezvous.api import RendezvousInfo, RendezvousTimeoutError

from llmkit.launching.meeting import Meeting
from llmkit.launching.plan import Launch
from tests.launching.test_agent import free_port


def machine(port: int, rank: int, nodes: int = 3, patience: float = 30.0) -> Meeting:
    return Meeting(Launch(1, nodes=nodes, node_rank=rank, port=port), f"call {rank}", patience)


def met(meetings: list[Meeting]) -> list[RendezvousInfo]:
    with ThreadPoolExecutor(len(meetings)) as pool:
        return list(pool.map(Meeting.next_rendezvous, meetings))


def ports(infos: list[RendezvousInfo]) -> set[int]:
    return {info.bootstrap_store_info.master_port for info in infos if info.bootstrap_store_info}


def test_each_has_the_rank_it_was_given_in_every_round() -> None:
    port = free_port()
    meetings = [machine(port, rank) for rank in (2, 0, 1)]
    first, second = met(meetings), met(meetings)

    assert [info.rank for info in first] == [info.rank for info in second] == [2, 0, 1]
    assert len(ports(first)) == len(ports(second)) == 1
    first[0].store.set("a", "b")
    assert first[1].store.get("a") == b"b"
    assert not second[1].store.check(["a"]), "another round, another store"


def test_one_that_was_begun_anew_is_seen_and_taken_into_the_next_round() -> None:
    port = free_port()
    meetings = [machine(port, rank) for rank in range(3)]
    met(meetings)
    assert meetings[0].num_nodes_waiting() == 0
    anew = machine(port, 1)
    waiting = threading.Thread(target=anew.next_rendezvous)
    waiting.start()
    while meetings[0].num_nodes_waiting() == 0:
        pass
    infos = met([meetings[0], meetings[2]])
    waiting.join()

    assert [info.rank for info in infos] == [0, 2]


def listening() -> set[str]:
    """The addresses at which this process listens, as Linux has them: 0100007F is 127.0.0.1."""
    mine = {str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()
    ]
    return {line[1] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in mine}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc/net is Linux's")
def test_on_one_machine_nobody_else_can_reach_it() -> None:
    before = listening()
    meeting = machine(0, 0, nodes=1)
    meeting.next_rendezvous()

    opened = listening() - before
    assert len(opened) == 2
    assert {address.partition(":")[0] for address in opened} == {"0100007F"}
    meeting.shutdown()


def test_one_that_does_not_come_is_named() -> None:
    with pytest.raises(RendezvousTimeoutError, match="machine 1 did not come"):
        machine(0, 0, nodes=2, patience=0.2).next_rendezvous()
