"""How much CO2e a kilowatt hour is, by the country whose grid it comes from: ``grids.json``, location-based."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.errors import UsageError, did_you_mean
from llmkit.units import INTENSITY, Amount, parse

WORLD = "world"
# Coal and oil shale are at 1 to 1.5 kg.
_MOST_INTENSE = 5.0


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid.

    Attributes:
        name: such as ``France``.
        intensity: CO2e a kilowatt hour; `source` says of which year and by whom.
    """

    name: str
    intensity: Amount
    source: str


@functools.cache
def _table() -> dict[str, Any]:
    return json.loads(Path(__file__).with_name("grids.json").read_bytes())


@functools.cache
def _names() -> Mapping[str, str]:
    rows = _table()["grids"]
    return {
        name.lower(): code
        for code, row in rows.items()
        for name in (row["iso3"], row["name"], *row.get("also", ()), code)
    }


def grid_codes() -> list[str]:
    """Return the codes of the grids that there are: ``us``, ``fr``, ``world``."""
    return list(_table()["grids"])


def find_grid(text: str) -> Grid:
    """Return the grid of a country (``us``, ``USA``, ``France``), of the ``world``, or of an intensity (``0.385``).

    Raises:
        UsageError: it is neither, or more than any grid has.
    """
    code = _names().get(text.strip().lower())
    if code is not None:
        row = _table()["grids"][code]
        source = row.get("source") or _table()["source"]
        return Grid(
            row["name"], Amount(row["g_co2e_per_kwh"] / 1000, "kg CO2e/kWh"), f"{source}; {row['year']}"
        )
    if text.strip()[:1].isalpha():
        guess = did_you_mean(text.strip(), _names())
        raise UsageError(
            f"--grid {text}: no such country" + (f"; {guess}" if guess else "."),
            hint=f"Write it as {INTENSITY.examples}.",
        )
    intensity = parse(text, "--grid", INTENSITY)
    if intensity.of("kg CO2e/kWh") > _MOST_INTENSE:
        raise UsageError(
            f"--grid {text}: {intensity} is more than any grid has.",
            hint=f"Write it as {INTENSITY.examples}; a number alone is of kilograms.",
        )
    return Grid("as given", intensity, "--grid")
