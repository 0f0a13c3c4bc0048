"""Drawings of Rich as bytes, as wide as the terminal that they are for."""

from __future__ import annotations

import io
import os
import shutil
from dataclasses import dataclass
from typing import Any

from llmkit.cli.channels import ResultStream
from llmkit.cli.printable import without_commands

_WIDEST = 10_000


@dataclass(frozen=True, slots=True)
class Look:
    """How wide a drawing is, and what says which colors the terminal has; "" for none."""

    width: int
    colors: str


def look_of(results: ResultStream) -> Look:
    """Return how drawings look in a place: in color where the terminal and NO_COLOR allow it."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    width = shutil.get_terminal_size((100, 24)).columns if results.is_terminal else _width_of_pipe()
    terminal = " ".join(os.environ.get(name, "") for name in ("TERM", "COLORTERM"))
    return Look(width, "" if plain or not results.is_terminal else terminal)


def _width_of_pipe() -> int:
    """Return how wide a drawing is that no terminal shows: as COLUMNS says, else 100."""
    setting = os.environ.get("COLUMNS", "")
    is_width = setting.isdecimal() and len(setting) < 9 and int(setting)
    return min(int(setting), _WIDEST) if is_width else 100


def rendered(drawing: Any, results: ResultStream) -> bytes:
    """Return a drawing as bytes, as it looks in a place."""
    from rich.console import Console
    from rich.segment import Segment

    class Harmless(Console):
        def render(self, *arguments: Any, **more: Any) -> Any:
            for segment in super().render(*arguments, **more):
                text = without_commands(segment.text)
                yield segment if text == segment.text else Segment(text, segment.style, segment.control)

    out, look = io.StringIO(), look_of(results)
    console = Harmless(file=out, width=look.width, force_terminal=look.colors != "", highlight=False)
    console.print(drawing, markup=False)
    return out.getvalue().encode()
