"""Spearman's correlation against scipy 1.17.1."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from llmkit.metrics import load_metric
from llmkit.metrics.spearman import mean_ranks

numbers = st.integers(-5, 5).map(float) | st.floats(allow_nan=False)


def ours(predictions, references):
    metric = load_metric("spearman")
    metric.update(predictions, references)
    return metric.compute()["spearmanr"], metric.notes()


@given(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=50))
def test_equals_scipy(pairs):
    x, y = zip(*pairs, strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = spearmanr(x, y).statistic
    assert ours(x, y)[0] == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(st.lists(numbers, min_size=1))
def test_equal_values_share_their_rank(values):
    assert mean_ranks(np.array(values)).tolist() == rankdata(values).tolist()


@pytest.mark.parametrize(
    ("predictions", "references", "said"),
    [
        ([1.0], [2.0], "two examples"),
        ([1, 1, 1], [1, 2, 3], "all predictions are the same"),
        ([math.nan, 1, 2], [1, 2, 3], "NaN"),
    ],
)
def test_not_defined_is_nan_and_said(predictions, references, said):
    value, notes = ours(predictions, references)
    assert math.isnan(value)
    assert said in notes[0]


def test_keeps_two_floats_an_example():
    metric = load_metric("spearman")
    metric.update(range(1000), range(1000))
    assert len(metric.kept) * metric.kept.itemsize == 16_000
