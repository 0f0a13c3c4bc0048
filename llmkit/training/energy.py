"""What a run took of energy: a rough figure, from its time and what the devices draw under load."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

WATTS_A_CORE = 15.0
"""What a core of a server's processor draws under load; no data sheet says it of one."""

# The most that a board draws, by the name that torch gives it: the first pattern that is in it. From the makers'
# data sheets, as `peaks`.
BOARDS: tuple[tuple[str, float], ...] = (
    (r"\bB200\b", 1000),
    (r"\bH200\b", 700),
    (r"\bH100 NVL\b", 400),
    (r"\bH100 PCIe\b", 350),
    (r"\bH100 80GB HBM3\b", 700),
    (r"\bA100-SXM", 400),
    (r"\bA100 80GB PCIe\b", 300),
    (r"\bA100-PCIE-40GB\b", 250),
    (r"\bA40\b", 300),
    (r"\bA30\b", 165),
    (r"\bA10\b", 150),
    (r"\bL40S\b", 350),
    (r"\bL40\b", 300),
    (r"\bL4\b", 72),
    (r"\bRTX A6000\b", 300),
    (r"\bRTX 4090$", 450),
    (r"\bRTX 3090$", 350),
    (r"\bMI300X\b", 750),
    (r"\bV100-SXM", 300),
    (r"\bV100-PCIE", 250),
    (r"\bT4\b", 70),
)


def watts_of_board(name: str) -> float | None:
    """Return the most that a board draws, by the name that torch gives it; None where it is not known."""
    return next((watts for pattern, watts in BOARDS if re.search(pattern, name)), None)


def energy_line(device: torch.device, seconds: float, processes: int) -> str | None:
    """Return a sentence on what a run took; None for a device whose power is not known.

    Args:
        seconds: of training.
        processes: each on a device of its own, or with as many threads as this one.
    """
    import torch

    if device.type == "cuda":
        watts, of_what = watts_of_board(torch.cuda.get_device_name(device)), "the most that the board draws"
    else:
        watts, of_what = WATTS_A_CORE * torch.get_num_threads(), f"{WATTS_A_CORE:.0f} W a core in use"
    if watts is None:
        return None
    energy = watts * processes * seconds / 3600
    return f"Energy, estimated and not measured: {energy:.1f} Wh, at {watts * processes:,.0f} W, {of_what}."
