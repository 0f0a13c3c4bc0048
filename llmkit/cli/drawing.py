"""Drawings of Rich as bytes, as wide as the terminal that they are for."""

from __future__ import annotations

import io
import os
import shutil
from dataclasses import dataclass
from typing import Any

from llmkit.cli.channels import ResultStream


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
    return int(setting) if setting.isdecimal() and int(setting) else 100


def rendered(drawing: Any, results: ResultStream) -> bytes:
    """Return a drawing as bytes, as it looks in a place."""
    from rich.console import Console

    out, look = io.StringIO(), look_of(results)
    console = Console(file=out, width=look.width, force_terminal=look.colors != "", highlight=False)
    console.print(drawing, markup=False)
    return out.getvalue().encode()
