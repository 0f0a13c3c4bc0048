"""Requests that wait for a model: those that arrive together go through it together, one thread computes.

What waits is bounded, a request whose client has gone is passed over, and each has its time. One of many inputs goes
through in slices, so that the others have their turn between them.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from llmkit.errors import LlmkitError

MOST_TOGETHER = 512  # inputs
SLICE = 64  # inputs of one request
GATHERING = 0.003  # seconds that a first request waits for others


class BusyError(LlmkitError):
    """As many requests wait as may wait."""


class LateError(LlmkitError):
    """A request was not answered in its time."""


@dataclass(eq=False)
class Job:
    """A request's work.

    Attributes:
        run: does a part of the work of several jobs at once and returns for each a result, or an exception; of a job
            of more than SLICE inputs a list of their results.
        key: jobs with the same one go together; None for one that goes alone.
        is_left: nobody waits for the result any more.
        results: of the inputs that are done, where there are more than a slice of them.
    """

    run: Callable[[Sequence[Part]], Sequence[Any]]
    items: Sequence[Any]
    key: Any = None
    is_left: bool = False
    future: Future[Any] = field(default_factory=Future)
    results: list[Any] = field(default_factory=list)


class Part:
    """As much of a job as goes through the model at a time: its next inputs."""

    def __init__(self, job: Job) -> None:
        self.job = job
        done = len(job.results)
        self.items = job.items[done : done + SLICE]

    @property
    def key(self) -> Any:
        """Return the job's key."""
        return self.job.key

    @property
    def is_left(self) -> bool:
        """Return whether nobody waits for the job any more."""
        return self.job.is_left


class Engine:
    """The thread that computes, and what waits for it.

    Args:
        most_waiting: requests that may wait; a further one is refused at once.
    """

    def __init__(self, most_waiting: int) -> None:
        self.most_waiting = most_waiting
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._ends = False
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Return how many requests wait."""
        return len(self._waiting)

    async def result(self, job: Job, seconds: float) -> Any:
        """Wait for a job's result.

        Raises:
            BusyError: too many wait already.
            LateError: it took longer than it may.
            Exception: what the work ended in.
        """
        self.submit(job)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(job.future)
        except TimeoutError:
            raise LateError(f"no answer within {seconds:g} seconds.") from None
        finally:
            self.leave(job)  # a client that leaves cancels this

    def submit(self, job: Job) -> None:
        """Let a job wait for its turn.

        Raises:
            BusyError: too many wait already.
        """
        with self._changed:
            if len(self._waiting) >= self.most_waiting or self._ends:
                raise BusyError(f"{len(self._waiting)} requests wait already.", hint="Try again in a moment.")
            self._waiting.append(job)
            self._changed.notify()

    def leave(self, job: Job) -> None:
        """Give up a job's place: nobody waits for it any more."""
        job.is_left = True
        with self._changed:
            self._waiting = deque(each for each in self._waiting if each is not job)

    def end(self) -> None:
        """Finish what waits, and no more."""
        with self._changed:
            self._ends = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while parts := self._next():
            results = _results(parts)
            unfinished = [
                part.job for part, result in zip(parts, results, strict=True) if not _is_done(part, result)
            ]
            with self._changed:
                self._waiting.extend(unfinished)

    def _next(self) -> list[Part]:
        """Wait for the first job, then a moment for others like it; [] at the end."""
        while True:
            with self._changed:
                while not self._waiting:
                    if self._ends:
                        return []
                    self._changed.wait()
                goes_alone = self._waiting[0].key is None
            if not goes_alone:
                time.sleep(GATHERING)
            with self._changed:
                living = [job for job in self._waiting if not job.is_left]
                parts = _together(living)
                chosen = {id(part.job) for part in parts}
                self._waiting = deque(job for job in living if id(job) not in chosen)
            if parts:
                return parts


def _results(parts: Sequence[Part]) -> Sequence[Any]:
    """Return what parts come to; where they fail together, each alone: one of them is to blame, not all."""
    try:
        return parts[0].job.run(parts)
    except Exception as error:
        if len(parts) == 1:
            return [error]
    return [result for part in parts for result in _results([part])]


def _together(living: Sequence[Job]) -> list[Part]:
    """Return a part of the first job, and of those behind it that can go with it."""
    parts: list[Part] = []
    inputs = 0
    for job in living:
        if job is living[0] or _goes_with(job, living[0]):
            parts.append(Part(job))
            inputs += len(parts[-1].items)
        if inputs >= MOST_TOGETHER:
            break
    return parts


def _is_done(part: Part, result: Any) -> bool:
    """Take a part's result; tell whether it was its job's last one."""
    job = part.job
    if not isinstance(result, Exception) and len(job.items) > SLICE:
        job.results.extend(result)
        if len(job.results) < len(job.items):
            return False
        result = job.results
    if job.future.set_running_or_notify_cancel():
        if isinstance(result, Exception):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)
    return True


def _goes_with(job: Job, first: Job) -> bool:
    return first.key is not None and job.key == first.key
