"""The k nearest by blocks against a sort of all."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.embeddings.top_k import nearest
from llmkit.errors import DataError


def exact_scores(query, vectors, measure):
    query, vectors = query.astype(numpy.float64), vectors.astype(numpy.float64)
    if measure == "euclidean":
        return numpy.sqrt(((vectors - query) ** 2).sum(axis=1))
    products = (vectors * query).sum(axis=1)
    if measure == "dot":
        return products
    lengths = numpy.sqrt((vectors**2).sum(axis=1)) * numpy.sqrt((query**2).sum())
    return products / numpy.where(lengths == 0, 1, lengths)


def cut(vectors, places):
    return numpy.split(vectors, sorted(places))


@st.composite
def searches(draw):
    """Small whole numbers, so that ties are many and float32 is exact; some rows are not numbers."""
    dimension = draw(st.integers(1, 4))
    rows = draw(st.integers(1, 60))
    seed = draw(st.integers(0, 2**32 - 1))
    random = numpy.random.default_rng(seed)
    vectors = random.integers(-2, 3, (rows, dimension)).astype(numpy.float32)
    for row in draw(st.lists(st.integers(0, rows - 1), max_size=3)):
        vectors[row, 0] = draw(st.sampled_from([numpy.nan, numpy.inf]))
    queries = random.integers(-2, 3, (draw(st.integers(1, 4)), dimension)).astype(numpy.float32)
    places = draw(st.lists(st.integers(0, rows), max_size=4))
    return (
        queries,
        vectors,
        places,
        draw(st.integers(1, 70)),
        draw(st.sampled_from(["cosine", "dot", "euclidean"])),
    )


@given(searches())
def test_equals_a_full_sort(search):
    queries, vectors, places, k, measure = search
    found = nearest(queries, cut(vectors, places), k, measure)
    finite = numpy.isfinite(vectors).all(axis=1)
    assert found.rows == len(vectors)
    for query, hits in zip(queries, found.hits, strict=True):
        rows = numpy.flatnonzero(finite)
        scores = exact_scores(query, vectors[rows], measure)
        nearness = scores if measure == "euclidean" else -scores
        # Scores of equal worth may differ in float64's last bit: rounded, ties are ties.
        order = numpy.lexsort((rows, nearness.round(9)))[:k]
        assert len(hits) == len(order)
        assert [hit.score for hit in hits] == pytest.approx(scores[order].tolist(), abs=1e-9)
        assert len({hit.row for hit in hits}) == len(hits)
        for hit in hits:
            assert finite[hit.row]
            assert hit.score == pytest.approx(exact_scores(query, vectors[[hit.row]], measure)[0], abs=1e-9)


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 300), max_size=5),
    st.sampled_from(["cosine", "dot", "euclidean"]),
)
def test_blocks_change_nothing(seed, places, measure):
    random = numpy.random.default_rng(seed)
    vectors = random.standard_normal((300, 24)).astype(numpy.float32)
    vectors[100:110] = vectors[5]  # equal vectors: the lower row comes first
    queries = random.standard_normal((3, 24)).astype(numpy.float32)
    queries[0] = vectors[5]
    whole, parts = (
        nearest(queries, [vectors], 12, measure),
        nearest(queries, cut(vectors, places), 12, measure),
    )
    assert whole.hits == parts.hits
    if measure != "dot":
        assert [hit.row for hit in whole.hits[0]][:11] == [5, *range(100, 110)]


def test_more_equal_vectors_than_are_kept():
    vectors = numpy.ones((500, 3), numpy.float32)
    found = nearest(numpy.ones((1, 3)), cut(vectors, [7, 200]), 3)
    assert [hit.row for hit in found.hits[0]] == [0, 1, 2]


def test_small_distances_far_from_zero():
    vectors = numpy.full((50, 8), 1000, numpy.float32)
    vectors[:, 0] += numpy.arange(50)[::-1] / 64
    found = nearest(vectors[49:], [vectors], 3, "euclidean")
    assert [(hit.row, hit.score) for hit in found.hits[0]] == [(49, 0.0), (48, 1 / 64), (47, 2 / 64)]


def test_rows_that_are_no_numbers_are_counted():
    vectors = numpy.array([[1, 0], [numpy.nan, 1], [0, 1], [numpy.nan, numpy.nan]], numpy.float32)
    found = nearest(numpy.array([[0, 1], [1, 0]]), [vectors], 9)
    assert (found.rows, found.skipped) == (4, 2)
    assert [[hit.row for hit in hits] for hits in found.hits] == [[2, 0], [0, 2]]


def test_min_score():
    vectors = numpy.array([[1, 0], [1, 1], [0, 1], [-1, 0]], numpy.float32)
    query = numpy.array([[1, 0]])
    assert [hit.row for hit in nearest(query, [vectors], 9, min_score=0.5).hits[0]] == [0, 1]
    assert [hit.row for hit in nearest(query, [vectors], 9, "euclidean", min_score=1.0).hits[0]] == [0, 1]


def test_zero_vectors_are_like_nothing():
    found = nearest(numpy.array([[1, 0]]), [numpy.array([[0, 0], [-1, 0]], numpy.float32)], 2)
    assert [(hit.row, hit.score) for hit in found.hits[0]] == [(0, 0.0), (1, -1.0)]


def test_no_vectors():
    assert nearest(numpy.ones((1, 2)), [numpy.empty((0, 2), numpy.float32)], 3).hits == [[]]


def test_another_dimension():
    with pytest.raises(DataError, match=r"vectors of 3 and of 2 numbers"):
        nearest(numpy.ones((1, 2)), [numpy.ones((4, 3), numpy.float32)], 1)
