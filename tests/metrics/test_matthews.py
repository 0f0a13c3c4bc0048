"""Matthews' correlation against scikit-learn 1.9.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import matthews_corrcoef

from llmkit.metrics import load_metric

labels = st.integers(0, 4)


def ours(predictions, references):
    metric = load_metric("matthews")
    metric.update(predictions, references)
    return metric.compute()["matthews_correlation"], metric.notes()


@given(st.lists(st.tuples(labels, labels), min_size=1))
def test_equals_scikit_learn(pairs):
    predictions, references = zip(*pairs, strict=True)
    assert ours(predictions, references)[0] == pytest.approx(
        matthews_corrcoef(references, predictions), abs=1e-14
    )


@pytest.mark.parametrize(
    ("predictions", "references"), [([1, 1], [1, 1]), ([0, 1], [1, 1]), ([1, 1], [0, 1])]
)
def test_one_class_is_zero_and_said(predictions, references):
    value, notes = ours(predictions, references)
    assert value == 0
    assert "one class" in notes[0]


def test_many_examples_do_not_overflow():
    metric = load_metric("matthews")
    counts = [[0, 0], 10**9], [[1, 1], 10**9], [[0, 1], 10**8]
    metric.merge({"examples": 21 * 10**8, "totals": [list(each) for each in counts]})
    assert metric.compute()["matthews_correlation"] == pytest.approx(0.9090909090909, abs=1e-6)
