"""Requests wait, go together, are refused, and are passed over when nobody waits for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from llmkit.serving.engine import SLICE, BusyError, Engine, Job, LateError


@pytest.fixture
def engine() -> Iterator[Engine]:
    started = Engine(4)
    yield started
    started.end()


class Work:
    """Work that can be held up, and knows what it was given together."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.batches: list[list[object]] = []

    def hold(self, jobs: list[Job]) -> list[object]:
        self.begun.set()
        self.may_end.wait(20)
        return self.run(jobs)

    def run(self, jobs: list[Job]) -> list[object]:
        self.batches.append([job.items for job in jobs])
        return [ValueError("bad") if job.items == ["bad"] else job.items for job in jobs]


def test_what_arrives_while_it_computes_goes_together(engine: Engine) -> None:
    async def ask() -> list[object]:
        work = Work()
        first = asyncio.ensure_future(engine.result(Job(work.hold, [0]), 20))
        await asyncio.to_thread(work.begun.wait, 20)
        rest = [asyncio.ensure_future(engine.result(Job(work.run, [n], key=n % 2), 20)) for n in range(1, 5)]
        await asyncio.sleep(0)
        work.may_end.set()
        assert await asyncio.gather(first, *rest) == [[0], [1], [2], [3], [4]]
        return work.batches

    assert asyncio.run(ask()) == [[[0]], [[1], [3]], [[2], [4]]]


def test_one_more_than_may_wait_is_refused_at_once(engine: Engine) -> None:
    async def ask() -> None:
        work = Work()
        waiting = [asyncio.ensure_future(engine.result(Job(work.hold, [0]), 20))]
        await asyncio.to_thread(work.begun.wait, 20)
        waiting += [asyncio.ensure_future(engine.result(Job(work.run, [n]), 20)) for n in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await engine.result(Job(work.run, [9]), 20)
        work.may_end.set()
        await asyncio.gather(*waiting)

    asyncio.run(ask())


def test_a_late_answer_and_a_client_that_left_are_passed_over(engine: Engine) -> None:
    async def ask() -> None:
        work = Work()
        first = asyncio.ensure_future(engine.result(Job(work.hold, [0]), 20))
        await asyncio.to_thread(work.begun.wait, 20)
        left = asyncio.ensure_future(engine.result(Job(work.run, [1]), 20))
        await asyncio.sleep(0)
        left.cancel()
        with pytest.raises(LateError):
            await engine.result(Job(work.run, [2]), 0.01)
        work.may_end.set()
        assert await first == [0]
        assert await engine.result(Job(work.run, [3]), 20) == [3]
        assert work.batches == [[[0]], [[3]]]

    asyncio.run(ask())


def test_what_goes_wrong_is_its_own_requests_alone(engine: Engine) -> None:
    async def ask() -> None:
        work = Work()
        asked = [engine.result(Job(work.run, [name], key="k"), 20) for name in ("good", "bad")]
        good, bad = await asyncio.gather(*asked, return_exceptions=True)
        assert good == ["good"]
        assert isinstance(bad, ValueError)

    asyncio.run(ask())


def test_one_that_fails_the_whole_batch_fails_alone(engine: Engine) -> None:
    def fragile(jobs: list[Job]) -> list[object]:
        if any(job.items == ["bad"] for job in jobs):
            raise ValueError("bad")
        return [job.items for job in jobs]

    async def ask() -> None:
        asked = [engine.result(Job(fragile, [name], key="k"), 20) for name in ("one", "bad", "two")]
        one, bad, two = await asyncio.gather(*asked, return_exceptions=True)
        assert [one, two] == [["one"], ["two"]]
        assert isinstance(bad, ValueError)

    asyncio.run(ask())


def test_many_inputs_go_in_slices_and_let_others_through(engine: Engine) -> None:
    async def ask() -> None:
        work = Work()
        first = asyncio.ensure_future(engine.result(Job(work.hold, [0]), 20))
        await asyncio.to_thread(work.begun.wait, 20)
        many = list(range(2 * SLICE + 1))
        large = asyncio.ensure_future(engine.result(Job(work.run, many, key="large"), 20))
        small = asyncio.ensure_future(engine.result(Job(work.run, ["small"], key="small"), 20))
        await asyncio.sleep(0)
        work.may_end.set()
        assert await asyncio.gather(first, large, small) == [[0], many, ["small"]]
        assert [len(batch[0]) for batch in work.batches] == [1, SLICE, 1, SLICE, 1]

    asyncio.run(ask())


def test_a_client_that_leaves_ends_the_work_between_slices(engine: Engine) -> None:
    async def ask() -> None:
        work = Work()
        left = asyncio.ensure_future(engine.result(Job(work.hold, list(range(4 * SLICE)), key="k"), 20))
        await asyncio.to_thread(work.begun.wait, 20)
        left.cancel()
        await asyncio.sleep(0)
        work.may_end.set()
        assert await engine.result(Job(work.run, ["next"], key="other"), 20) == ["next"]
        assert [len(batch[0]) for batch in work.batches] == [SLICE, 1]

    asyncio.run(ask())


def test_the_place_of_a_client_that_left_is_anothers(engine: Engine) -> None:
    async def ask() -> None:
        work = Work()
        first = asyncio.ensure_future(engine.result(Job(work.hold, [0]), 20))
        await asyncio.to_thread(work.begun.wait, 20)
        left = [asyncio.ensure_future(engine.result(Job(work.run, [n]), 20)) for n in range(4)]
        await asyncio.sleep(0)
        assert engine.waiting == 4
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        assert engine.waiting == 0
        last = asyncio.ensure_future(engine.result(Job(work.run, [9]), 20))
        await asyncio.sleep(0)
        work.may_end.set()
        assert await asyncio.gather(first, last) == [[0], [9]]

    asyncio.run(ask())
