"""Bootstrap intervals: against scipy 1.17.1, and against computing every resample from its examples."""

import math

import numpy as np
import pytest
from scipy.stats import bootstrap

from llmkit.errors import DataError, UsageError
from llmkit.metrics import confidence_interval, find_metric, load_metric, metric_names
from tests.metrics.examples import many


@pytest.mark.parametrize("name", metric_names())
def test_a_resample_is_what_its_examples_give(name):
    predictions, references = many(find_metric(name).examples, 12)
    metric = load_metric(name)
    count, result_at = metric.resampled(predictions, references)
    assert (count, metric.examples) == (12, 0)
    for seed in range(3):
        chosen = np.random.default_rng(seed).integers(12, size=12)
        drawn = load_metric(name)
        for i in chosen:
            drawn.update([predictions[i]], [references[i]])
        assert result_at(chosen) == pytest.approx(drawn.compute(), nan_ok=True)


def test_equals_scipys_percentile_bootstrap():
    predictions, references = many("classes", 101)
    right = np.array(predictions) == np.array(references)
    expected = bootstrap(
        (right,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(7)
    ).confidence_interval
    found = confidence_interval("accuracy", predictions, references, n=2000, seed=7)["accuracy"]
    assert found.value == right.mean()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_seed_and_options():
    predictions, references = many("classes", 50)
    metric = load_metric("f1", average="weighted")
    first = confidence_interval(metric, predictions, references, n=100, seed=1)
    assert first == confidence_interval(metric, predictions, references, n=100, seed=1)
    assert first != confidence_interval(metric, predictions, references, n=100, seed=2)
    metric.update(predictions, references)
    assert first["f1"].value == pytest.approx(metric.compute()["f1"])
    assert first["f1"].low <= first["f1"].value <= first["f1"].high


def test_a_lower_level_is_narrower():
    predictions, references = many("numbers", 30)
    wide = confidence_interval("pearson", predictions, references, n=200)["pearsonr"]
    narrow = confidence_interval("pearson", predictions, references, n=200, level=0.5)["pearsonr"]
    assert wide.low < narrow.low < narrow.high < wide.high


def test_resamples_without_a_result_are_counted():
    found = confidence_interval("pearson", [1.0, 2.0], [1.0, 3.0], n=200)["pearsonr"]
    assert 60 < found.undefined < 140
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1))


def test_no_examples():
    found = confidence_interval("rouge", [], [], n=10)
    assert set(found) == {"rouge1", "rouge2", "rougeL", "rougeLsum"}
    assert all(math.isnan(each.low) for each in found.values())


def test_a_nan_that_was_not_drawn_does_no_harm():
    _, result_at = load_metric("mse").resampled([math.nan, 1.0], [0.0, 0.0])
    assert result_at(np.array([1, 1])) == {"mse": 1.0}


def test_bad_calls():
    with pytest.raises(UsageError, match="resamples is 0"):
        confidence_interval("accuracy", [1], [1], n=0)
    with pytest.raises(UsageError, match="level is 95"):
        confidence_interval("accuracy", [1], [1], level=95)
    with pytest.raises(UsageError, match="did you mean accuracy"):
        confidence_interval("acuracy", [1], [1])
    with pytest.raises(DataError):
        confidence_interval("accuracy", [1], [1, 2])
