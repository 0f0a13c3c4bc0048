"""From device hours to energy, CO2e and money: one formula each, for what is planned and for what was run."""

from __future__ import annotations

from llmkit.figures import Figure, Span, figure
from llmkit.hardware.grids import Grid
from llmkit.units import Amount

ENERGY_SOURCE = "Patterson et al. 2021, arXiv 2104.10350, section 2.5"
EMISSIONS_SOURCE = "GHG Protocol, Scope 2 Guidance: location-based"


def energy_figure(
    hours: Span, watts: Span, overhead: Span, *, power_source: str, label: str = "energy"
) -> Figure:
    """Return the energy of devices that ran for some device hours.

    Args:
        watts: what one device draws, and `overhead` the data center's share, as the power usage effectiveness.
    """
    return figure(
        "energy",
        label,
        hours * watts * overhead * 1e-3,
        "kWh",
        formula="device hours × power × PUE",
        numbers=(
            f"{Amount(hours.middle, 'device hours')} × {Amount(watts.middle, 'W')} × "
            f"{Amount(overhead.middle, 'W/W')}"
        ),
        source="; ".join(filter(None, (ENERGY_SOURCE, power_source))),
    )


def emissions_figure(energy: Figure, grid: Grid) -> Figure:
    """Return the CO2e of an amount of energy from a grid, location-based."""
    each = grid.intensity.of("kg CO2e/kWh")
    return figure(
        "emissions",
        f"CO2e, grid: {grid.name}",
        _span(energy, "kWh") * each,
        "kg CO2e",
        formula="energy × carbon intensity of the grid, location-based",
        numbers=f"{energy.amount} × {grid.intensity}",
        source=f"{EMISSIONS_SOURCE}; {grid.source}",
    )


def money_figure(hours: Span, price: Amount) -> Figure:
    """Return what device hours cost."""
    return figure(
        "money",
        "money",
        hours * price.of("USD/device hour"),
        "USD",
        formula="device hours × price",
        numbers=f"{Amount(hours.middle, 'device hours')} × {price}",
    )


def _span(known: Figure, unit: str) -> Span:
    low, high = known.low or known.amount, known.high or known.amount
    return Span(known.amount.of(unit), low.of(unit), high.of(unit))
