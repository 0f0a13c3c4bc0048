"""Where the machines of a run meet, again after each loss: a store that the first one's launcher keeps open.

The first machine waits for a fresh word of every other, then says which words make up the round and where its
processes meet. A machine that lost its link tries until it is back; one that was begun anew is taken into the next
round. The rank of a machine is the one it was given, so the same machine writes in every round.
"""

from __future__ import annotations

import json
import socket
import time
import uuid
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from torch.distributed import DistError, PrefixStore, TCPStore
from torch.distributed.elastic.rendezvous.api import (
    RendezvousHandler,
    RendezvousInfo,
    RendezvousStoreInfo,
    RendezvousTimeoutError,
)

if TYPE_CHECKING:
    from torch.distributed import Store

    from llmkit.launching.plan import Launch

_PATIENCE = 600.0  # seconds that one machine waits for the others
_A_LOOK = timedelta(seconds=2)
_PAUSE = 0.1
_ROUND = "round"


class Meeting(RendezvousHandler):
    """The rounds of one call, as torch's elastic agent asks for them.

    Raises:
        RendezvousTimeoutError: of `next_rendezvous`: not all machines came in time.
    """

    def __init__(self, launch: Launch, run_id: str, patience: float = _PATIENCE) -> None:
        self._launch, self._run_id, self._patience = launch, run_id, patience
        self._number = 0
        self._used: set[str] = set()
        self._server = _opened(launch, launch.port) if launch.node_rank == 0 else None
        self._rounds_store: Store | None = None  # of the processes of this round

    def next_rendezvous(self) -> RendezvousInfo:
        """Wait for the next round."""
        deadline = time.monotonic() + self._patience
        found = self._open_round(deadline) if self._server is not None else self._join_round(deadline)
        self._number = found["number"]
        address, port = self._launch.address, found["port"]
        if self._server is None:
            self._rounds_store = self._connect(port)
        assert self._rounds_store is not None
        return RendezvousInfo(
            PrefixStore("agents", self._rounds_store),
            self._launch.node_rank,
            self._launch.nodes,
            RendezvousStoreInfo(address, port),
        )

    def _open_round(self, deadline: float) -> dict[str, Any]:
        """Wait for all others, and tell them where their processes meet."""
        assert self._server is not None
        words: dict[str, str] = {}
        while len(words) < self._launch.nodes - 1:
            words = self._fresh_words()
            if len(words) < self._launch.nodes - 1:
                missing = [rank for rank in range(1, self._launch.nodes) if str(rank) not in words]
                _pause(deadline, f"machine {missing[0]} did not come")
        self._used |= set(words.values())
        self._rounds_store = opened = _opened(self._launch, 0)
        found = {"number": self._number + 1, "port": opened.port, "words": words}
        self._server.set(_ROUND, json.dumps(found))
        return found

    def _fresh_words(self) -> dict[str, str]:
        """Return what the machines that wait for a round have said, by their ranks."""
        assert self._server is not None
        found = {}
        for rank in range(1, self._launch.nodes):
            if self._server.check([f"join/{rank}"]):
                word = self._server.get(f"join/{rank}").decode()
                if word not in self._used:
                    found[str(rank)] = word
        return found

    def _join_round(self, deadline: float) -> dict[str, Any]:
        """Say that this machine is there, again over a new connection where one breaks, until a round has it."""
        word, mine = uuid.uuid4().hex, str(self._launch.node_rank)
        store = None
        while True:
            try:
                store = store or self._connect(self._launch.port)
                store.set(f"join/{mine}", word)
                found: dict[str, Any] = json.loads(store.get(_ROUND))
                if found["words"].get(mine) == word:
                    return found
            except (DistError, RuntimeError):
                store = None
            _pause(deadline, f"{self._launch.address}:{self._launch.port} does not answer")

    def _connect(self, port: int) -> TCPStore:
        return TCPStore(self._launch.address, port, is_master=False, timeout=_A_LOOK, wait_for_workers=False)

    def num_nodes_waiting(self) -> int:
        """Return how many machines wait for another round: those that were begun anew."""
        return len(self._fresh_words()) if self._server is not None else 0

    def get_run_id(self) -> str:
        """Return the name of the call."""
        return self._run_id

    def get_backend(self) -> str:
        """Return what the rounds are kept in."""
        return "llmkit"

    @property
    def use_agent_store(self) -> bool:
        """The processes meet in a store of the launcher, which outlives each of them."""
        return True

    def is_closed(self) -> bool:
        """Tell whether there will be no other round: nobody ever says so."""
        return False

    def set_closed(self) -> None:
        """Take no notice: a machine that ended does not end the others' rounds."""

    def shutdown(self) -> bool:
        """Let go of the stores."""
        with suppress(AttributeError):
            del self._rounds_store, self._server
        return True


def _opened(launch: Launch, port: int) -> TCPStore:
    """Open a store that others may join; where there is no other machine, by nobody from outside this one.

    Raises:
        RuntimeError: the port is taken.
    """
    if launch.nodes > 1:
        return TCPStore(launch.address, port, is_master=True, wait_for_workers=False)
    with socket.create_server((launch.address, port)) as listening:
        return TCPStore(
            launch.address,
            listening.getsockname()[1],
            is_master=True,
            wait_for_workers=False,
            master_listen_fd=listening.detach(),
        )


def _pause(deadline: float, why: str) -> None:
    if time.monotonic() > deadline:
        raise RendezvousTimeoutError(why)
    time.sleep(_PAUSE)
