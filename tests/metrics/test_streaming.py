"""What holds for every metric: any batches and devices give the result of all examples at once."""

import json
import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.errors import DataError
from llmkit.metrics import Metric, find_metric, load_metric, metric_names
from tests.metrics.examples import BY_KIND, many

each_metric = pytest.mark.parametrize("name", metric_names())


def given_whole(name, predictions, references):
    metric = load_metric(name)
    metric.update(predictions, references)
    return metric


@each_metric
@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, 40), max_size=5), devices=st.integers(1, 4))
def test_shards_give_the_result_of_the_whole(name, cuts, devices):
    predictions, references = many(find_metric(name).examples, 40)
    edges = [0, *sorted(cuts), 40]
    parts = [load_metric(name) for _ in range(devices)]
    for turn, (begin, end) in enumerate(pairwise(edges)):
        parts[turn % devices].update(predictions[begin:end], references[begin:end])
    merged = load_metric(name)
    for part in parts:
        merged.merge(json.loads(json.dumps(part.state(), allow_nan=name == "squad_v2")))
    assert merged.examples == 40
    whole = given_whole(name, predictions, references)
    expected = whole.compute()
    if name == "squad_v2":
        # Among equal probabilities the threshold's order is that of the examples, in the official script too.
        expected = {key: value for key, value in expected.items() if "best" not in key}
    assert {key: merged.compute()[key] for key in expected} == pytest.approx(expected, rel=1e-12)


@each_metric
def test_is_a_metric_with_its_main_key(name):
    metric = given_whole(name, *BY_KIND[find_metric(name).examples])
    assert isinstance(metric, Metric)
    result = metric.compute()
    assert find_metric(name).main_key in result
    assert set(metric.result_keys) <= set(result)
    assert all(isinstance(value, int | float) for value in result.values())
    assert metric.notes() == []
    json.dumps({str(key): value for key, value in metric.details().items()})
    assert metric.compute() == result


@each_metric
def test_no_examples(name):
    metric = load_metric(name)
    metric.update([], [])
    metric.merge(load_metric(name).state())
    assert metric.examples == 0
    result = metric.compute()
    assert set(result) == set(metric.result_keys)
    assert all(math.isnan(value) for value in result.values())
    assert metric.notes() == ["there are no examples."]
    metric.details()


@each_metric
def test_lengths_differ(name):
    predictions, references = many(find_metric(name).examples, 6)
    metric = load_metric(name)
    if find_metric(name).examples.startswith("answers"):
        predictions = [each["prediction_text"] for each in predictions]
        references = [each["answers"] for each in references]
    with pytest.raises(DataError, match="there are 5 predictions for 6 references"):
        metric.update(predictions[:5], references)
    assert metric.examples == 0


@each_metric
@pytest.mark.parametrize("bad", [None, 3.5, "text", {"a": 1}])
def test_not_a_batch(name, bad):
    if name == "perplexity" and bad == 3.5:
        pytest.skip("one sum is a batch")
    with pytest.raises(DataError):
        load_metric(name).update(bad, bad)


@each_metric
def test_a_bad_example_leaves_nothing_behind(name):
    predictions, references = many(find_metric(name).examples, 3)
    metric = load_metric(name)
    with pytest.raises(DataError):
        metric.update([*predictions[:2], object()], references)
    assert metric.examples == 0
    metric.update(predictions, references)
    assert metric.compute() == given_whole(name, predictions, references).compute()


@pytest.mark.parametrize("name", ["accuracy", "f1", "matthews", "pearson", "spearman", "mse", "perplexity"])
def test_arrays_and_tensors(name):
    import numpy as np
    import torch

    predictions, references = BY_KIND[find_metric(name).examples]
    expected = given_whole(name, predictions, references).compute()
    ways = (
        np.array,
        tuple,
        lambda values: torch.from_numpy(np.array(values)),
        lambda values: [np.asarray(each)[()] for each in values],
    )
    for made in ways:
        assert given_whole(name, made(predictions), made(references)).compute() == expected
    if find_metric(name).examples == "numbers":
        column = [[each] for each in predictions]
        assert given_whole(name, torch.tensor(column, dtype=torch.float64), references).compute() == expected
