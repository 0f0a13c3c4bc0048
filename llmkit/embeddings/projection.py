"""Vectors as points of a plane: their first two principal components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Projection:
    """Points and how much of the vectors' variance they show.

    Attributes:
        points: (vectors, dimensions), float64.
        shares: of the variance, along each dimension; zeros where all vectors are the same.
    """

    points: Array
    shares: tuple[float, ...]


def principal_components(vectors: Array, dimensions: int = 2) -> Projection:
    """Project vectors onto the directions in which they differ most (Pearson 1901; Hotelling 1933).

    The sign of a direction is free: the one is taken in which its largest coordinate is positive.

    Args:
        vectors: (vectors, dimension), finite.
        dimensions: of the points; those beyond what the vectors have are zeros.
    """
    import numpy

    centered = numpy.asarray(vectors, dtype=numpy.float64)
    centered = centered - centered.mean(axis=0)
    left, sizes, directions = numpy.linalg.svd(centered, full_matrices=False)
    kept = min(dimensions, len(sizes))
    points = numpy.zeros((len(centered), dimensions))
    points[:, :kept] = left[:, :kept] * sizes[:kept]
    for place, direction in enumerate(directions[:kept]):
        if direction[numpy.abs(direction).argmax()] < 0:
            points[:, place] *= -1
    total = float((sizes**2).sum())
    shares = [float(size**2) / total if total else 0.0 for size in sizes[:kept]]
    return Projection(points, (*shares, *[0.0] * (dimensions - kept)))
