"""Accuracy against scikit-learn 1.9.1."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from llmkit.metrics import load_metric

labels = st.integers(0, 3)


def ours(predictions, references):
    metric = load_metric("accuracy")
    metric.update(predictions, references)
    assert metric.details()["total"] == len(references)
    return metric.compute()["accuracy"]


@given(st.lists(st.tuples(labels, labels), min_size=1))
def test_classes(pairs):
    predictions, references = zip(*pairs, strict=True)
    assert ours(predictions, references) == accuracy_score(references, predictions)


@given(st.lists(st.tuples(*[st.booleans()] * 6), min_size=1))
def test_multilabel_is_right_only_as_a_whole(rows):
    rows = np.array(rows, dtype=int)
    predictions, references = rows[:, :3], rows[:, 3:]
    assert ours(predictions, references) == accuracy_score(references, predictions)


def test_labels_unseen_in_references_are_wrong():
    assert ours([7, 1], [0, 1]) == 0.5
    assert ours(["a", "z"], ["a", "b"]) == 0.5
