"""Pictures in files, drawn with matplotlib: the formats there are, and the same bytes for the same drawing."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

from llmkit.errors import MissingExtraError, UsageError

ENDINGS = (".png", ".svg", ".pdf")
_DOTS_PER_INCH = 120
_METADATA: dict[str, dict[str, str | None]] = {
    ".png": {"Software": "llmkit"},
    ".svg": {"Creator": "llmkit", "Date": None},
    ".pdf": {"Creator": "llmkit", "CreationDate": None},
}


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


def new_figure(width: float, height: float, what: str = "--plot") -> Any:
    """Return an empty figure of matplotlib.

    Args:
        width, height: inches.
        what: needs matplotlib, for the message.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        # Not pyplot: that looks for a screen.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(what, "plot") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def drawn_text(text: str) -> str:
    """Return a text as matplotlib shows it: a dollar would begin a formula."""
    return text.replace("$", r"\$")


def picture_bytes(figure: Any, path: Path) -> bytes:
    """Return a figure in the format that a path's ending says; no date and no random names are inside."""
    from matplotlib import rc_context

    ending = path.suffix.lower()
    out = io.BytesIO()
    with warnings.catch_warnings(), rc_context({"svg.hashsalt": "llmkit", "svg.fonttype": "none"}):
        # A character that the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(out, dpi=_DOTS_PER_INCH, format=ending[1:], metadata=_METADATA[ending])
    return out.getvalue()
