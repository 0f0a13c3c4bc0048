"""Texts compared with each other from Python."""

from __future__ import annotations

import numpy
import pytest
from sklearn.metrics.pairwise import cosine_similarity, euclidean_distances

from llmkit import embed, similarity
from llmkit.embeddings.measures import pairwise, similarities
from llmkit.errors import UsageError

MONEY = "He went to the bank to deposit money."
LOAN = "The bank approved the loan."
RIVER = "She sat on the river bank and fished."


def test_the_bank_by_the_river_is_another_bank():
    matrix = similarity([MONEY, LOAN, RIVER], model="minilm", word="bank")
    assert matrix.shape == (3, 3)
    assert matrix[0, 1] > matrix[0, 2]
    assert matrix[0, 1] > matrix[1, 2]


@pytest.mark.parametrize(
    ("measure", "expected"),
    [("cosine", cosine_similarity), ("dot", lambda a, b: a @ b.T), ("euclidean", euclidean_distances)],
)
def test_measures_equal_scikit_learn(measure, expected):
    ones, others = embed([MONEY, LOAN], "minilm", pooling="max"), embed([RIVER], "minilm", pooling="max")
    found = similarity([MONEY, LOAN], [RIVER], model="minilm", measure=measure, pooling="max")
    assert found == pytest.approx(expected(ones, others), abs=1e-4)


@pytest.mark.parametrize("measure", ["cosine", "dot", "euclidean"])
def test_pair_by_pair_is_the_diagonal(measure):
    random = numpy.random.default_rng(0)
    ones, others = random.standard_normal((2, 9, 6)).astype(numpy.float32)
    assert pairwise(ones, others, measure) == pytest.approx(
        numpy.diag(similarities(ones, others, measure)), abs=1e-5
    )


def test_several_vectors_a_text_are_refused():
    with pytest.raises(UsageError, match="one vector a text"):
        similarity([MONEY, LOAN], model="minilm", level="token")
    with pytest.raises(UsageError, match="did you mean cosine"):
        similarity([MONEY, LOAN], model="minilm", measure="cosin")
