"""Starting the processes of a call and staying with them: torch's elastic agent, with a word for what it sees.

Signals are handed on, and the processes have the time they need to save. When one is lost, the agent says which and
why, ends the others, and begins again if it may.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, SubprocessContext
from torch.distributed.elastic.rendezvous.api import RendezvousTimeoutError

from llmkit.errors import EXIT_DONE, LlmkitError
from llmkit.launching.meeting import Meeting
from llmkit.launching.plan import Launch, threads_each
from llmkit.launching.surroundings import LAUNCH, LOG_LEVEL, OF_PROCESSES, SILENT
from llmkit.launching.worker import EXIT_LOST

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TO_END = 5  # seconds for those that are left when one is lost; what they write is whole or not there
_TO_FOLLOW = 10.0  # seconds for the others when one has ended by its own will


@dataclass(frozen=True, slots=True)
class Loss:
    """A process that ended, and not by its own will.

    Attributes:
        exit_code: negative, the signal that ended it.
    """

    rank: int
    pid: int
    exit_code: int

    def described(self, count: int) -> str:
        """Return what happened, for a person."""
        who = f"process {self.rank} of {count} (pid {self.pid})"
        if self.exit_code >= 0:
            return f"{who} ended: see its message above."
        name = signal.Signals(-self.exit_code).name
        by_system = " That is what the system does when there is no memory left." if name == "SIGKILL" else ""
        return f"{who} was killed by {name}.{by_system}"


def run_processes(
    module: str, arguments: Sequence[str], launch: Launch, *, said: Callable[[str], None]
) -> int:
    """Run the command in the processes of a launch, and return the exit code of the call.

    Args:
        module: what each process runs.
        arguments: of the command, as they were given.
        said: takes what is to be said of losses and of beginning again.

    Raises:
        LlmkitError: a process was lost, and it may not be begun again; not all machines came.
    """
    logging.disable(logging.ERROR)  # of what the agent says, its own words here are enough
    run_id = uuid.uuid4().hex
    os.environ[LAUNCH] = run_id
    if os.environ.get(LOG_LEVEL) == SILENT:  # this launcher's own
        os.environ[LOG_LEVEL] = OF_PROCESSES
    if not os.environ.get("OMP_NUM_THREADS"):
        os.environ["OMP_NUM_THREADS"] = str(threads_each(launch.processes))
    if launch.gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = launch.gpus
    try:
        meeting = Meeting(launch, run_id)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise LlmkitError(f"cannot listen at {launch.address}:{launch.port}: {reason}") from None
    agent = _Agent([module, *arguments], launch, meeting, said)
    try:
        result = agent.run()
    except RendezvousTimeoutError as error:
        raise LlmkitError(f"not all machines came together: {error}.") from None
    except SignalException as error:
        return 128 + int(error.sigval)
    finally:
        meeting.shutdown()
    if not result.is_failed():
        return EXIT_DONE
    if agent.ended_with is not None:
        return agent.ended_with
    assert agent.loss is not None
    raise LlmkitError(
        agent.loss.described(launch.processes * launch.nodes),
        hint="--resume goes on from what is whole; --max-restarts N does so by itself.",
    )


class _Agent(LocalElasticAgent):
    """torch's agent, that hands signals on and tells a process that was lost from one that ended.

    Attributes:
        ended_with: the code of a process that ended by its own will, in an error or told to stop.
        loss: the process that was lost first.
    """

    def __init__(
        self, arguments: Sequence[str], launch: Launch, meeting: Meeting, said: Callable[[str], None]
    ) -> None:
        spec = WorkerSpec(
            role="llmkit",
            local_world_size=launch.processes,
            rdzv_handler=meeting,
            entrypoint=sys.executable,
            args=("-m", *arguments),
            max_restarts=launch.max_restarts,
        )
        super().__init__(spec, DefaultLogsSpecs(log_dir=os.devnull), exit_barrier_timeout=_TO_FOLLOW)
        self._launch, self._said = launch, said
        self._told = 0
        self.ended_with: int | None = None
        self.loss: Loss | None = None

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        self.loss = None
        started = super()._start_workers(worker_group)
        for number in _SIGNALS:  # instead of the agent's own, which would end them in 30 seconds
            signal.signal(number, self._hand_on)
        return started

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        self._told += 1
        self._remaining_restarts = 0
        for process in self._processes():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM if number == signal.SIGHUP else number)
        if self._told > 2:  # they do not end
            raise SignalException("told to stop three times", signal.Signals(number))

    def _processes(self) -> list[Any]:
        assert isinstance(self._pcontext, SubprocessContext)
        return [handler.proc for handler in self._pcontext.subprocess_handlers.values()]

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        codes = [process.poll() for process in self._processes()]
        if any(codes):  # neither running nor done
            self._look_into(worker_group, codes)
        return super()._monitor_workers(worker_group)

    def _look_into(self, worker_group: WorkerGroup, codes: list[int | None]) -> None:
        """Find out what became of processes that ended, and let the others end."""
        meant = [code for code in codes if code and 0 < code != EXIT_LOST]
        if meant:
            self._remaining_restarts = 0
            self._wait_for_all()
            self.ended_with = meant[0]
            return
        ended = [number for number, code in enumerate(codes) if code]
        # Those that only missed another ended because of it.
        first = min(ended, key=lambda number: codes[number] or 0)
        self.loss = Loss(
            worker_group.workers[first].global_rank, self._processes()[first].pid, codes[first] or 0
        )
        # Not the agent's own _shutdown, which in older releases gives them half a minute, whatever is wished.
        assert self._pcontext is not None
        self._pcontext.close(signal.SIGTERM, _TO_END)
        if self._remaining_restarts > 0 and not self._told:
            count = self._launch.processes * self._launch.nodes
            left = self._remaining_restarts
            self._said(
                f"{self.loss.described(count)} Beginning again from what is whole "
                f"({left} {'restart' if left == 1 else 'restarts'} left)."
            )

    def _wait_for_all(self) -> None:
        """Let the others end too; what one process found, all agreed on."""
        end = time.monotonic() + _TO_FOLLOW
        while time.monotonic() < end and any(process.poll() is None for process in self._processes()):
            time.sleep(0.05)
