"""Energy, CO2e and money, held against runs whose authors published both sides of the sum."""

from __future__ import annotations

import pytest

from llmkit.figures import Span
from llmkit.hardware.bills import emissions_figure, energy_figure, money_figure
from llmkit.hardware.grids import find_grid
from llmkit.units import Amount


@pytest.mark.parametrize(
    ("hours", "watts", "overhead", "grid", "megawatt_hours", "tonnes"),
    [
        (10_000 * 14.8 * 24, 330, 1.10, "0.429", 1287, 552.1),  # GPT-3: Patterson et al. 2021, table 4
        (1_082_990, 400, 1.0, "0.057", 433.196, 24.69),  # BLOOM: Luccioni et al. 2022, section 4
        (184_320, 400, 1.1, "0.385", None, 31.22),  # Llama 2 7B: its model card
        (1_022_362, 400, 1.1, "0.385", 449, 173),  # LLaMA 65B: Touvron et al. 2023, table 15
    ],
)
def test_as_published(hours, watts, overhead, grid, megawatt_hours, tonnes):
    energy = energy_figure(Span.exact(hours), Span.exact(watts), Span.exact(overhead), power_source="")
    if megawatt_hours is not None:
        assert energy.amount.of("MWh") == pytest.approx(megawatt_hours, rel=0.003)
    assert emissions_figure(energy, find_grid(grid)).amount.of("t CO2e") == pytest.approx(tonnes, rel=0.005)


def test_bounds_go_through():
    energy = energy_figure(Span(10, 5, 20), Span.exact(100), Span(1.2, 1.1, 1.5), power_source="")
    emissions = emissions_figure(energy, find_grid("0.5"))
    assert (energy.low, energy.amount, energy.high) == (
        Amount(0.55, "kWh"),
        Amount(1.2, "kWh"),
        Amount(3.0, "kWh"),
    )
    assert emissions.low is not None and emissions.low.of("g CO2e") == pytest.approx(275)


def test_money():
    assert money_figure(Span.exact(100), Amount(2.5, "USD/device hour")).amount == Amount(250, "USD")
