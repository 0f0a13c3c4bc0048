"""Which examples a step takes: all of them once an epoch, at random, the same from the seed, dealt to devices."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.training.steps import Steps, steps_of

lengths = st.lists(st.integers(1, 50), min_size=1, max_size=40)


def make_steps(lengths: list[int], **changes: Any) -> Steps:
    settings = {"batch_size": 4, "epochs": 2.0, "seed": 7, "max_rows": 3, "max_tokens": 60, **changes}
    return Steps(lengths, **settings)


def rows_of(steps: Steps, number: int) -> list[int]:
    return [row for rows in steps.at(number).micro_batches for row in rows]


@given(lengths, st.integers(1, 9), st.booleans())
def test_an_epoch_takes_every_example_once(lengths: list[int], batch_size: int, sort: bool) -> None:
    steps = make_steps(lengths, batch_size=batch_size, sort=sort)

    for epoch in range(2):
        numbers = range(epoch * steps.an_epoch, (epoch + 1) * steps.an_epoch)
        taken = [row for number in numbers for row in rows_of(steps, number)]
        assert sorted(taken) == list(range(len(lengths)))
        assert [steps.at(number).is_epochs_last for number in numbers] == [False] * (len(numbers) - 1) + [
            True
        ]
        assert {steps.at(number).epoch for number in numbers} == {epoch}


@given(lengths, st.integers(1, 5), st.integers(1, 80))
def test_micro_batches_keep_to_their_limits(lengths: list[int], max_rows: int, max_tokens: int) -> None:
    steps = make_steps(lengths, max_rows=max_rows, max_tokens=max_tokens)

    for rows in steps.at(0).micro_batches:
        assert len(rows) <= max_rows
        assert len(rows) == 1 or len(rows) * max(lengths[row] for row in rows) <= max_tokens


@given(lengths, st.integers(1, 4))
def test_devices_share_a_steps_examples(lengths: list[int], devices: int) -> None:
    alone = make_steps(lengths)
    shares = [make_steps(lengths, rank=rank, devices=devices) for rank in range(devices)]

    together = [row for share in shares for row in rows_of(share, 0)]

    assert sorted(together) == sorted(rows_of(alone, 0))
    assert max(len(rows_of(share, 0)) for share in shares) == math.ceil(len(rows_of(alone, 0)) / devices)


def test_how_a_step_is_cut_does_not_change_what_it_takes() -> None:
    lengths = [5, 40, 7, 33, 12, 9, 21, 2]

    taken = [
        sorted(rows_of(make_steps(lengths, sort=sort, max_rows=rows), 1))
        for sort in (True, False)
        for rows in (1, 4)
    ]

    assert all(each == taken[0] for each in taken)


def test_the_order_follows_from_the_seed_and_the_epoch() -> None:
    lengths = [1] * 64
    one, again, other = (make_steps(lengths, seed=seed, batch_size=64) for seed in (1, 1, 2))

    orders = [[row for rows in steps.at(0).micro_batches for row in rows] for steps in (one, again, other)]

    unsorted = make_steps(lengths, seed=1, batch_size=64, sort=False)
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert rows_of(unsorted, 0) != rows_of(unsorted, 1)
    assert rows_of(unsorted, 0) != list(range(64))


def test_how_many_steps_there_are() -> None:
    assert make_steps([1] * 10, batch_size=4).an_epoch == 3
    assert make_steps([1] * 10, batch_size=4, epochs=2).total == 6
    assert make_steps([1] * 10, batch_size=4, epochs=0.5).total == 2
    assert make_steps([1] * 10, batch_size=4, epochs=0.001).total == 1
    assert make_steps([1] * 10, batch_size=4, max_steps=100).total == 100


@pytest.mark.parametrize(
    ("share", "steps", "expected"), [(0.07, 100, 7), (1.1, 50, 55), (0.001, 10, 1), (2, 7, 14)]
)
def test_a_share_of_steps_is_that_of_the_number_as_written(share: float, steps: int, expected: int) -> None:
    assert steps_of(share, steps) == expected


def test_in_their_order_they_keep_to_the_tokens_too() -> None:
    lengths = [3, 9, 2, 2, 2, 20, 1]
    steps = Steps(lengths, 7, 1, 0, max_rows=3, max_tokens=12, sort=False)
    batches = steps.at(0).micro_batches
    assert sorted(row for batch in batches for row in batch) == list(range(7))
    assert [row for batch in batches for row in batch] == steps.drawn(0, 1)
    for batch in batches:
        assert len(batch) <= 3
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= 12
