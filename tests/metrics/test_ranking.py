"""Ranking metrics against scikit-learn 1.9.1."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score, top_k_accuracy_score

from llmkit.errors import DataError, UsageError
from llmkit.metrics import load_metric

COUNT = 12


def scored(ranks):
    """Scores (examples, candidates) in which candidate 0 has the rank that is said."""
    scores = np.zeros((len(ranks), COUNT))
    for row, rank in zip(scores, ranks, strict=True):
        row[1:] = [*range(COUNT + 1, COUNT + rank), *range(1, COUNT - rank + 1)]
        row[0] = COUNT
    return scores


@given(st.lists(st.integers(1, COUNT), min_size=1, max_size=20), st.sampled_from([1, 5, 10]))
def test_of_one_right_candidate(ranks, k):
    right = np.eye(1, COUNT).repeat(len(ranks), axis=0)
    mrr, recall = load_metric("mrr"), load_metric(f"recall_at_{k}")
    for metric in (mrr, recall):
        metric.update(ranks, [COUNT] * len(ranks))
    assert mrr.compute()["mrr"] == pytest.approx(label_ranking_average_precision_score(right, scored(ranks)))
    expected = top_k_accuracy_score([0] * len(ranks), scored(ranks), k=k, labels=range(COUNT))
    assert recall.compute()[f"recall_at_{k}"] == pytest.approx(expected)


def test_what_chance_gives():
    mrr, recall = load_metric("mrr"), load_metric("recall_at_5")
    for metric in (mrr, recall):
        metric.update([1, 1], [4, 10])
    every = [sum(1 / rank for rank in range(1, count + 1)) / count for count in (4, 10)]
    assert mrr.details()["by_chance"] == pytest.approx(sum(every) / 2)
    assert recall.details()["by_chance"] == pytest.approx((1 + 0.5) / 2)


@pytest.mark.parametrize("rank", [0, 5, -1])
def test_a_rank_that_is_none(rank):
    with pytest.raises(DataError, match=f"the rank {rank} is not one of 4 candidates"):
        load_metric("mrr").update([rank], [4])


def test_k_is_a_number_from_1():
    with pytest.raises(UsageError, match="k is 0"):
        load_metric("recall_at_1", k=0)
