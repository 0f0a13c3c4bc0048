"""How alike vectors are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmkit.errors import DataError, no_such

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

MEASURES = ("cosine", "dot", "euclidean")


def check_measure(name: str) -> str:
    """Return `name` if it is a measure.

    Raises:
        UsageError: it is none.
    """
    if name in MEASURES:
        return name
    raise no_such("--measure", name, "measure", MEASURES)


def similarities(ones: Sequence[Array] | Array, others: Sequence[Array] | Array, measure: str) -> Array:
    """Return how alike each vector is to each other one, (ones, others), float32.

    Args:
        ones, others: (number, dimension).
        measure: cosine; dot, the inner product; or euclidean, the distance, which is smaller for what is alike.

    Raises:
        DataError: the vectors are of different dimensions.
    """
    import numpy

    left, right = (numpy.asarray(each, dtype=numpy.float32) for each in (ones, others))
    if left.shape[-1] != right.shape[-1]:
        raise DataError(
            f"vectors of {left.shape[-1]:,} and of {right.shape[-1]:,} numbers cannot be compared."
        )
    if measure == "cosine":
        left, right = normalized(left), normalized(right)
    if measure == "euclidean":
        # Vector by vector: |a|² + |b|² − 2ab, which is faster, loses what tells near ones apart.
        distances = [numpy.linalg.norm(right - each, axis=1) for each in left]
        return numpy.asarray(distances, dtype=numpy.float32).reshape(len(left), len(right))
    products: Array = left @ right.T
    return products.clip(-1, 1) if measure == "cosine" else products


def normalized(vectors: Array) -> Array:
    """Return vectors at length 1, (…, dimension); one of zeros stays as it is."""
    import numpy

    lengths = numpy.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Array = vectors / numpy.where(lengths == 0, 1, lengths)
    return scaled


def pairwise(ones: Array, others: Array, measure: str) -> Array:
    """Return how alike each vector is to the one at its place, (number,), float32.

    Args:
        ones, others: (number, dimension).
        measure: as of `similarities`.
    """
    import numpy

    if measure == "euclidean":
        distances: Array = numpy.linalg.norm(ones - others, axis=1)
        return distances
    if measure == "cosine":
        ones, others = normalized(ones), normalized(others)
    products: Array = numpy.einsum("nd,nd->n", ones, others)
    return products.clip(-1, 1) if measure == "cosine" else products
