"""Vectors in two dimensions as a picture in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmkit.data.pictures import drawn_text, new_figure, picture_bytes
from llmkit.embeddings.projection import Projection


def drawn_points(projection: Projection, labels: Sequence[str], title: str, path: Path) -> bytes:
    """Return a picture of labelled points, in the format that a path's ending says.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(8, 6)
    axes = figure.add_subplot()
    xs, ys = projection.points[:, 0], projection.points[:, 1]
    axes.scatter(xs, ys, color="#08519c", zorder=2)
    for x, y, label in zip(xs, ys, labels, strict=True):
        axes.annotate(drawn_text(label), (x, y), xytext=(6, 4), textcoords="offset points", fontsize=8)
    first, second = projection.shares
    axes.set(
        title=drawn_text(title),
        xlabel=f"first principal component ({first:.0%} of the variance)",
        ylabel=f"second ({second:.0%})",
    )
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.15)
    axes.grid(alpha=0.3)
    return picture_bytes(figure, path)
