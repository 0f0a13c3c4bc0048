"""Principal components against scikit-learn's."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from llmkit.embeddings.projection import principal_components


@given(st.integers(3, 40), st.integers(2, 30), st.integers(0, 2**32 - 1))
def test_equals_scikit_learn(rows, dimension, seed):
    vectors = numpy.random.default_rng(seed).standard_normal((rows, dimension)).astype(numpy.float32)
    pca = PCA(2, svd_solver="full")
    expected = pca.fit_transform(vectors.astype(numpy.float64))
    found = principal_components(vectors)
    assert numpy.abs(found.points) == pytest.approx(numpy.abs(expected), abs=1e-6)
    assert found.shares == pytest.approx(pca.explained_variance_ratio_, abs=1e-9)


def test_the_sign_is_settled():
    vectors = numpy.array([[0, 0], [1, 0.1], [3, 0], [9, 0.2]])
    points = principal_components(vectors).points
    assert points[:, 0].tolist() == sorted(points[:, 0].tolist())
    assert principal_components(-vectors).points[:, 0] == pytest.approx(-points[:, 0])


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_equal_vectors_are_one_point(rows):
    found = principal_components(numpy.ones((rows, 7)))
    assert found.points.tolist() == [[0.0, 0.0]] * rows
    assert found.shares == (0.0, 0.0)


def test_two_vectors_lie_on_a_line():
    found = principal_components(numpy.array([[0.0, 0.0], [3.0, 4.0]]))
    assert numpy.abs(found.points[:, 0]) == pytest.approx([2.5, 2.5])
    assert found.points[:, 1] == pytest.approx([0, 0], abs=1e-12)
    assert found.shares == pytest.approx((1, 0))
