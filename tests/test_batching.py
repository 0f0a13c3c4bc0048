"""Which inputs go through the model together, and how a stream is cut into windows."""

import itertools
import random
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.batching import MAX_WINDOW_ROWS, live_windows, plan_batches, plan_least_work, windows

LENGTHS = st.lists(st.integers(0, 600), max_size=120)
TOKENS = st.integers(1, 3000)
ROWS = st.integers(1, 70)


class TestPlan:
    @given(LENGTHS, TOKENS, ROWS, st.booleans())
    def test_every_input_is_in_exactly_one_batch(self, lengths, max_tokens, max_rows, equal):
        batches = plan_batches(lengths, max_tokens=max_tokens, max_rows=max_rows, equal_lengths=equal)
        assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
        assert all(batches)

    @given(LENGTHS, TOKENS, ROWS, st.booleans())
    def test_a_batch_keeps_its_budget_unless_one_input_is_longer(self, lengths, max_tokens, max_rows, equal):
        for batch in plan_batches(lengths, max_tokens=max_tokens, max_rows=max_rows, equal_lengths=equal):
            assert len(batch) <= max_rows
            assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= max_tokens

    @given(LENGTHS, TOKENS, ROWS)
    def test_the_longest_come_first(self, lengths, max_tokens, max_rows):
        batches = plan_batches(lengths, max_tokens=max_tokens, max_rows=max_rows)
        in_order = [lengths[index] for batch in batches for index in batch]
        assert in_order == sorted(lengths, reverse=True)

    @given(LENGTHS, TOKENS, ROWS)
    def test_equal_lengths_pad_nothing(self, lengths, max_tokens, max_rows):
        batches = plan_batches(lengths, max_tokens=max_tokens, max_rows=max_rows, equal_lengths=True)
        for batch in batches:
            assert len({max(1, lengths[index]) for index in batch}) == 1

    @given(st.lists(st.integers(0, 40), max_size=60), st.integers(40, 400), ROWS)
    def test_two_neighbours_never_fit_in_one(self, lengths, max_tokens, max_rows):
        """No batch is closed while the next input would still have fitted."""
        batches = plan_batches(lengths, max_tokens=max_tokens, max_rows=max_rows)
        for batch, following in itertools.pairwise(batches):
            rows = len(batch) + 1
            assert rows > max_rows or rows * max(1, lengths[batch[0]]) > max_tokens, (batch, following)

    @given(LENGTHS, TOKENS, ROWS)
    def test_inputs_of_one_length_stay_in_their_order(self, lengths, max_tokens, max_rows):
        batches = plan_batches(lengths, max_tokens=max_tokens, max_rows=max_rows)
        order = [index for batch in batches for index in batch]
        for length in set(lengths):
            same = [index for index in order if lengths[index] == length]
            assert same == sorted(same)

    def test_mixed_lengths_are_hardly_padded(self):
        draw = random.Random(0)
        lengths = [min(400, max(10, int(draw.lognormvariate(3.7, 0.8)))) for _ in range(2000)]
        batches = plan_batches(lengths, max_tokens=2048, max_rows=64)
        padded = sum(len(batch) * max(lengths[index] for index in batch) for batch in batches)
        assert padded / sum(lengths) < 1.05


class TestWindows:
    @given(st.integers(0, 1500), st.integers(1, 700))
    def test_together_they_are_the_stream(self, rows, max_rows):
        cut = list(windows(iter(range(rows)), max_rows=max_rows))
        assert [row for window in cut for row in window] == list(range(rows))
        assert all(0 < len(window) <= max_rows for window in cut)

    @given(st.integers(0, 1500), st.integers(0, 1500), st.integers(1, 700))
    def test_where_one_ends_depends_on_its_number_alone(self, rows, others, max_rows):
        """A resumed run, or one whose file has grown, cuts the same windows."""
        one, two = (list(windows(range(count), max_rows=max_rows)) for count in (rows, others))
        whole = max(0, min(len(one), len(two)) - 1)
        assert one[:whole] == two[:whole]

    def test_the_first_are_small_and_each_is_twice_the_one_before(self):
        sizes = [len(window) for window in windows(range(20_000))]
        assert sizes[:-1] == [64, 128, 256, 512, 1024, *[MAX_WINDOW_ROWS] * (len(sizes) - 6)]

    def test_no_row_is_read_ahead_of_its_window(self):
        read = []

        def rows():
            for number in range(500):
                read.append(number)
                yield number

        next(windows(rows()))
        assert len(read) == 64


class TestLiveWindows:
    @given(st.integers(0, 300), st.integers(1, 80))
    def test_together_they_are_the_stream(self, rows, max_rows):
        cut = list(live_windows(iter(range(rows)), max_rows=max_rows))
        assert [row for window in cut for row in window] == list(range(rows))
        assert all(0 < len(window) <= max_rows for window in cut)

    def test_a_row_is_given_before_the_next_is_written(self):
        """Somebody writes a line, sees its result, and only then writes the next."""
        answered = threading.Semaphore(1)

        def person():
            for number in range(5):
                assert answered.acquire(timeout=20), "the result never came"
                yield number

        seen = []
        for window in live_windows(person(), patience=0.01):
            seen.append(window)
            answered.release()
        assert seen == [[0], [1], [2], [3], [4]]

    @pytest.mark.parametrize(
        "error", [ValueError("a bad line"), KeyboardInterrupt()], ids=["error", "interrupt"]
    )
    def test_what_was_read_is_given_before_the_error(self, error):
        def source():
            yield from "ab"
            raise error

        given_rows = []
        with pytest.raises(type(error)) as caught:
            for window in live_windows(source()):
                given_rows += window
        assert caught.value is error
        assert given_rows == ["a", "b"]

    def test_rows_that_are_there_share_a_window(self):
        assert list(live_windows(range(10), patience=20)) == [list(range(10))]


def cost(batches: list[list[int]], lengths: list[int], overhead: int) -> int:
    return sum(len(batch) * max(max(1, lengths[i]) for i in batch) + overhead for batch in batches)


def ways_to_cut(order: list[int]) -> Iterator[list[list[int]]]:
    """Every way to cut a list into pieces."""
    places = range(1, len(order))
    cuts = itertools.chain.from_iterable(itertools.combinations(places, size) for size in range(len(order)))
    return ([order[a:b] for a, b in itertools.pairwise([0, *cut, len(order)])] for cut in cuts)


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=8),
    st.integers(1, 100),
    st.integers(1, 5),
    st.integers(0, 50),
)
def test_the_least_work_is_that_of_the_cheapest_of_all_cuts(
    lengths: list[int], max_tokens: int, max_rows: int, overhead: int
) -> None:
    batches = plan_least_work(lengths, max_tokens=max_tokens, max_rows=max_rows, overhead_tokens=overhead)

    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])

    def is_allowed(batch: list[int]) -> bool:
        longest = max(max(1, lengths[i]) for i in batch)
        return len(batch) <= max_rows and (len(batch) == 1 or longest * len(batch) <= max_tokens)

    assert all(map(is_allowed, batches))
    cheapest = min(cost(cut, lengths, overhead) for cut in ways_to_cut(order) if all(map(is_allowed, cut)))
    assert cost(batches, lengths, overhead) == cheapest
