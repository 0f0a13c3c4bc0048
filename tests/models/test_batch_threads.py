"""Batches on threads come out in order, each with its share of the cores, and nothing is left changed."""

from __future__ import annotations

import threading

import pytest
import torch

from llmkit.models.batch_threads import on_threads

pytestmark = pytest.mark.usefixtures("four_threads")


def test_results_are_in_order_and_several_are_worked_on_at_once():
    meeting = threading.Barrier(4, timeout=60)

    def run(batch):
        if batch < 4:
            meeting.wait()  # would break with fewer threads than four
        return batch, torch.get_num_threads(), threading.current_thread()

    found = list(on_threads(run, range(10), on_cpu=True))
    assert [batch for batch, _, _ in found] == list(range(10))
    assert {threads for _, threads, _ in found} == {1}
    assert threading.main_thread() not in {thread for _, _, thread in found}


def test_cores_are_shared_where_batches_are_few():
    found = list(on_threads(lambda batch: torch.get_num_threads(), range(5), on_cpu=True))
    assert found == [2] * 5


@pytest.mark.parametrize(("batches", "on_cpu"), [(3, True), (0, True), (10, False)])
def test_else_one_follows_the_other(batches, on_cpu):
    found = list(on_threads(lambda batch: threading.current_thread(), range(batches), on_cpu=on_cpu))
    assert found == [threading.main_thread()] * batches


def test_an_error_comes_in_its_turn_and_no_further_batch_is_begun():
    begun = []

    def run(batch):
        begun.append(batch)
        if batch == 3:
            raise ValueError("three")
        return batch

    given = on_threads(run, range(1000), on_cpu=True)
    assert [next(given) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(given)
    assert max(begun) < 20


def test_who_stops_asking_leaves_no_thread():
    given = on_threads(lambda batch: batch, range(1000), on_cpu=True)
    assert next(given) == 0
    given.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("llmkit-batch")]
