"""The mean squared error against scikit-learn 1.9.1."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_squared_error, root_mean_squared_error

from llmkit.metrics import load_metric

numbers = st.floats(-1e100, 1e100)


def metric_of(predictions, references, **options):
    metric = load_metric("mse", **options)
    metric.update(predictions, references)
    return metric


@given(st.lists(st.tuples(numbers, numbers), min_size=1))
def test_equals_scikit_learn(pairs):
    x, y = zip(*pairs, strict=True)
    assert metric_of(x, y).compute()["mse"] == pytest.approx(mean_squared_error(y, x), rel=1e-12)
    root = root_mean_squared_error(y, x)
    assert metric_of(x, y, squared=False).compute()["mse"] == pytest.approx(root, rel=1e-12)
    assert metric_of(x, y).details()["rmse"] == pytest.approx(root, rel=1e-12)


def test_nan_is_said():
    metric = metric_of([1.0, math.nan], [1.0, 2.0])
    assert math.isnan(metric.compute()["mse"])
    assert metric.notes() == ["1 of 2 examples are NaN or infinite."]
