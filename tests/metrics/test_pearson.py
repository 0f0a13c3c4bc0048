"""Pearson's correlation against scipy 1.17.1."""

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import pearsonr

from llmkit.errors import DataError
from llmkit.metrics import load_metric

numbers = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda value: round(value, 6))


def ours(predictions, references, batch=None):
    metric = load_metric("pearson")
    batch = batch or max(1, len(predictions))
    for begin in range(0, len(predictions), batch):
        metric.update(predictions[begin : begin + batch], references[begin : begin + batch])
    return metric.compute()["pearsonr"], metric.notes()


@given(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=50), st.integers(1, 20))
def test_equals_scipy(pairs, batch):
    x, y = map(list, zip(*pairs, strict=True))
    assume(min(np.std(x), np.std(y)) > 1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = pearsonr(x, y).statistic
    assert ours(x, y, batch)[0] == pytest.approx(expected, abs=1e-8)


def test_stays_exact_far_from_zero():
    """Sums of squares in float64 would lose everything here; the reference counts in fractions."""
    noise = np.random.default_rng(0)
    x = 1e9 + noise.normal(size=1000)
    y = x + noise.normal(size=1000)
    exact = [[Fraction(value) for value in column] for column in (x, y)]
    (a, b) = ([value - sum(column) / len(column) for value in column] for column in exact)
    square = (
        sum(p * q for p, q in zip(a, b, strict=True)) ** 2 / sum(p * p for p in a) / sum(q * q for q in b)
    )
    assert ours(x, y, 64)[0] == pytest.approx(math.sqrt(square), rel=1e-14)
    assert ours(x, y, 64)[0] == pytest.approx(pearsonr(x, y).statistic, abs=1e-7)


@pytest.mark.parametrize(
    ("predictions", "references", "said"),
    [
        ([1.0], [2.0], "two examples"),
        ([0.1, 0.1, 0.1], [1.0, 2.0, 3.0], "all predictions are the same"),
        ([1.0, 2.0, 3.0], [0.1, 0.1, 0.1], "all references are the same"),
        ([0.1, 0.1], [0.3, 0.3], "predictions and references"),
        ([math.nan, 1.0, 2.0], [1.0, 2.0, 3.0], "NaN, infinite"),
        ([math.inf, 1.0, 2.0], [1.0, 2.0, 3.0], "NaN, infinite"),
    ],
)
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_not_defined_is_nan_and_said(predictions, references, said, batch):
    value, notes = ours(predictions, references, batch)
    assert math.isnan(value)
    assert said in notes[0]


def test_two_numbers_an_example():
    with pytest.raises(DataError, match=r"shape \(2, 2\)"):
        ours([[1, 2], [3, 4]], [1, 2])


def test_not_numbers():
    with pytest.raises(DataError, match="not numbers"):
        ours(["high", "low"], [1, 2])
