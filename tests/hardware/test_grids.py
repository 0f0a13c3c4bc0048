"""Grids: by country in any of its names, or by an intensity with its unit."""

from __future__ import annotations

import pytest

from llmkit.errors import UsageError
from llmkit.hardware.grids import find_grid


@pytest.mark.parametrize(
    ("text", "name", "grams"),
    [
        ("us", "United States", 369.473),
        ("USA", "United States", 369.473),
        ("United States", "United States", 369.473),
        ("fr", "France", 56.039),
        ("FRANCE", "France", 56.039),
        ("no", "Norway", 30.08),
        ("UK", "United Kingdom", 237.589),
        ("world", "World", 475),
    ],
)
def test_by_country(text, name, grams):
    grid = find_grid(text)
    assert grid.name == name
    assert grid.intensity.of("g CO2e/kWh") == pytest.approx(grams)
    assert "20" in grid.source  # the year


@pytest.mark.parametrize("text", ["0.385", "385g", "385 g/kWh", "0.385kg/kWh"])
def test_by_intensity(text):
    assert find_grid(text).intensity.of("g CO2e/kWh") == pytest.approx(385)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("frnce", "did you mean france"),
        ("zz", "no such country"),
        ("0,385", "a comma"),
        ("385t", "no such unit"),
        ("385", "385 kg CO2e/kWh is more than any grid has"),
    ],
)
def test_what_is_refused(text, said):
    with pytest.raises(UsageError, match=said):
        find_grid(text)
