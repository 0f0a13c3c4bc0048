"""Vectors in two dimensions as a picture in a file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from llmkit.embeddings.projection import Projection
from llmkit.errors import MissingExtraError, UsageError

ENDINGS = (".png", ".svg", ".pdf")


def check_picture(path: str) -> str:
    """Return the name of a picture's file.

    Raises:
        UsageError: its ending is none that a picture has.
    """
    if path.lower().endswith(ENDINGS):
        return path
    raise UsageError(
        f"--plot {path}: no picture goes by this ending.", hint=f"Use one of {', '.join(ENDINGS)}."
    )


def drawn_points(projection: Projection, labels: Sequence[str], title: str, path: Path) -> bytes:
    """Return a picture of labelled points, in the format that a path's ending says.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        # Not pyplot: that looks for a screen.
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("--plot", "plot") from None
    figure = Figure(figsize=(8, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    xs, ys = projection.points[:, 0], projection.points[:, 1]
    axes.scatter(xs, ys, color="#08519c", zorder=2)
    for x, y, label in zip(xs, ys, labels, strict=True):
        # A dollar would begin a formula.
        axes.annotate(
            label.replace("$", r"\$"), (x, y), xytext=(6, 4), textcoords="offset points", fontsize=8
        )
    first, second = projection.shares
    axes.set(
        title=title.replace("$", r"\$"),
        xlabel=f"first principal component ({first:.0%} of the variance)",
        ylabel=f"second ({second:.0%})",
    )
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.15)
    axes.grid(alpha=0.3)
    out = io.BytesIO()
    # The same points give the same bytes: no date, no random names inside.
    with rc_context({"svg.hashsalt": "llmkit", "svg.fonttype": "none"}):
        figure.savefig(out, dpi=120, format=path.suffix[1:].lower(), metadata=_METADATA[path.suffix.lower()])
    return out.getvalue()


_METADATA: dict[str, dict[str, str | None]] = {
    ".png": {"Software": "llmkit"},
    ".svg": {"Creator": "llmkit", "Date": None},
    ".pdf": {"Creator": "llmkit", "CreationDate": None},
}
