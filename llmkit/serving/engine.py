"""Requests that wait for a model: those that arrive together go through it together, one thread computes.

What waits is bounded, a request whose client has gone is passed over, and each has its time.
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

MOST_TOGETHER = 1024
GATHERING = 0.003  # seconds that a first request waits for others


class BusyError(LlmkitError):
    """As many requests wait as may wait."""


class LateError(LlmkitError):
    """A request was not answered in its time."""


@dataclass(eq=False)
class Job:
    """A request's work.

    Attributes:
        run: does the work of several jobs at once and returns a result, or an exception, for each.
        key: jobs with the same one go together; None for one that goes alone.
        is_left: nobody waits for the result any more.
    """

    run: Callable[[Sequence[Job]], Sequence[Any]]
    items: Sequence[Any]
    key: Any = None
    is_left: bool = False
    future: Future[Any] = field(default_factory=Future)


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
            job.is_left = True  # a client that leaves cancels this

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

    def end(self) -> None:
        """Finish what waits, and no more."""
        with self._changed:
            self._ends = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while jobs := self._next():
            try:
                results = jobs[0].run(jobs)
            except Exception as error:
                results = [error] * len(jobs)
            for job, result in zip(jobs, results, strict=True):
                if job.future.set_running_or_notify_cancel():
                    if isinstance(result, Exception):
                        job.future.set_exception(result)
                    else:
                        job.future.set_result(result)

    def _next(self) -> list[Job]:
        """Wait for the first job, then a moment for others like it; [] at the end."""
        with self._changed:
            while not self._waiting:
                if self._ends:
                    return []
                self._changed.wait()
        if self._waiting[0].key is not None and len(self._waiting) < MOST_TOGETHER:
            time.sleep(GATHERING)
        with self._changed:
            living = [job for job in self._waiting if not job.is_left]
            first = living[0] if living else None
            together = [job for job in living if first is not None and _goes_with(job, first)][:MOST_TOGETHER]
            chosen = set(map(id, together))
            self._waiting = deque(job for job in living if id(job) not in chosen)
        return together or self._next()


def _goes_with(job: Job, first: Job) -> bool:
    return job is first or (first.key is not None and job.key == first.key)
