"""What is assumed where nobody says it: each with bounds, and where the three numbers come from."""

from __future__ import annotations

from dataclasses import dataclass

from llmkit.figures import Span
from llmkit.hardware.accelerators import Accelerator
from llmkit.units import Amount


@dataclass(frozen=True, slots=True)
class Assumption:
    """A number that goes into figures: as given, or assumed.

    Attributes:
        is_given: the person said it.
    """

    span: Span
    unit: str
    source: str
    is_given: bool = False

    @property
    def amount(self) -> Amount:
        """The middle."""
        return Amount(self.span.middle, self.unit)


def given(amount: Amount, option: str) -> Assumption:
    """Return what a person said."""
    return Assumption(Span.exact(amount.value), amount.unit, option, is_given=True)


# The middle is a round figure within the best documented run's range; the bounds are the lowest and the highest of one
# paper's comparison.
UTILIZATION = Assumption(
    Span(0.40, 0.213, 0.462),
    "of the peak",
    "assumed: 40 %, as Llama 3.1 405B (38 to 43 %, arXiv 2407.21783, table 4); bounds: GPT-3 and PaLM "
    "(Chowdhery et al. 2022, arXiv 2204.02311, table 3)",
)
OVERHEAD = Assumption(
    Span(1.2, 1.1, 1.58),
    "W/W",
    "assumed: PUE 1.2; bounds: 1.1 (Google's, Patterson et al. 2021, arXiv 2104.10350, table 4) and 1.58 "
    "(the world's data centers, Uptime Institute, Global Data Center Survey 2023)",
)
# Shares of the maker's figure that were measured, host, memory and network included.
_LEAST_DRAWN, _MOST_DRAWN = 288 / 450, 330 / 300
_DRAWN = (
    "bounds: 64 % (TPU v3) and 110 % (V100) of the maker's figure, as measured with host and network "
    "(Patterson et al. 2021, arXiv 2104.10350, table 4)"
)


def power_of(accelerator: Accelerator) -> Assumption | None:
    """Return what an accelerator is taken to draw; None where nobody published it."""
    if accelerator.power is None:
        return None
    watts = accelerator.power.of("W")
    span = Span(watts, _LEAST_DRAWN * watts, _MOST_DRAWN * watts)
    return Assumption(span, "W", f"assumed: what it draws at most, {accelerator.source}; {_DRAWN}")
