"""How alike vectors are: equal ones wholly so, and near ones told apart."""

import numpy
import pytest

from llmkit.embeddings.measures import MEASURES, pairwise, similarities
from llmkit.errors import DataError

VECTORS = numpy.random.default_rng(0).normal(size=(7, 384)).astype(numpy.float32) * 10


def test_equal_vectors_have_no_distance():
    assert (numpy.diag(similarities(VECTORS, VECTORS.copy(), "euclidean")) == 0).all()


def test_no_cosine_is_above_one():
    near = VECTORS * numpy.float32(1.0000001)
    assert similarities(VECTORS, near, "cosine").max() <= 1
    assert pairwise(VECTORS, near, "cosine").max() <= 1


@pytest.mark.parametrize("measure", MEASURES)
def test_a_matrix_says_what_pairs_say(measure):
    others = VECTORS[::-1] + 0.001
    matrix = numpy.diag(similarities(VECTORS, others, measure))
    assert matrix == pytest.approx(pairwise(VECTORS, others, measure), rel=1e-5, abs=1e-5)


def test_other_dimensions():
    with pytest.raises(DataError, match="of 384 and of 2 numbers"):
        similarities(VECTORS, VECTORS[:, :2], "cosine")
