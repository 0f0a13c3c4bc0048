"""The confusion matrix against scikit-learn 1.9.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix as reference

from llmkit.errors import UsageError
from llmkit.metrics import confusion_matrix, load_metric
from llmkit.metrics.confusion import check_labels

labels = st.sampled_from(["bad", "fine", "good"])


@given(st.lists(st.tuples(labels, labels), min_size=1))
def test_equals_scikit_learn(pairs):
    predictions, references = zip(*pairs, strict=True)
    matrix = confusion_matrix(predictions, references)
    assert list(matrix.labels) == sorted({*predictions, *references})
    assert [list(row) for row in matrix.counts] == reference(references, predictions).tolist()


def test_chosen_labels():
    matrix = confusion_matrix([0, 1, 2], [0, 2, 2], labels=[2, 0, 9])
    assert matrix.counts == ((1, 0, 0), (0, 1, 0), (0, 0, 0))
    assert matrix.counts == tuple(map(tuple, reference([0, 2, 2], [0, 1, 2], labels=[2, 0, 9]).tolist()))


def test_nothing():
    assert confusion_matrix([], []).labels == ()


@pytest.mark.parametrize("name", ["f1", "matthews"])
def test_is_in_the_details(name):
    metric = load_metric(name)
    metric.update([0, 1, 1], [0, 0, 1])
    assert metric.details()["confusion_matrix"] == {"labels": (0, 1), "counts": ((1, 1), (0, 1))}


def test_labels_are_named_once():
    with pytest.raises(UsageError):
        check_labels([1, 1])
    with pytest.raises(UsageError):
        check_labels([])
