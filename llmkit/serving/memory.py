"""Whether memory is running out."""

from __future__ import annotations

from llmkit.hardware import main_memory

_SCARCE = 0.08  # of what there is


def is_scarce() -> bool:
    """Tell whether less than 8 % of this machine's memory, or of what its control group allows, is to be had."""
    found = (main_memory.of_machine(), main_memory.of_group())
    return any(each is not None and each.available < _SCARCE * each.total for each in found)
