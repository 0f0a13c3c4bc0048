"""The devices of this machine: which they are, and what a CPU, whose peak no table knows, computes at most."""

from __future__ import annotations

import os
import platform
import time
from typing import TYPE_CHECKING

from llmkit.hardware.accelerators import CPU, Accelerator, accelerator_of, peak_of
from llmkit.units import Amount

if TYPE_CHECKING:
    import torch

WATTS_A_CORE = 15.0
"""What a processor draws a core under load, where no counter says: a rough figure, and always called so."""
# Processes a core that want to run, over the last minute, from which on others take a good part of the time.
_BUSY = 1.5
_SIDE = 1024
_PRODUCTS = 5


def peak_of_device(device: torch.device, dtype: str) -> float | None:
    """Return the FLOP/s that a device computes at most; None for a CPU, whose peak no table knows."""
    import torch

    if device.type != "cuda" or (dtype == "float32" and torch.backends.cuda.matmul.allow_tf32):
        return None
    return peak_of(torch.cuda.get_device_name(device), dtype)


def device_name(device: torch.device) -> str:
    """Return what a device is called, such as ``NVIDIA L4`` or ``CPU (x86_64)``."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()})"


def power_of_device(device: torch.device) -> tuple[Amount, str] | None:
    """Return what a device draws at most by the table, or a CPU by a rule, and where that is from; None if unknown."""
    if device.type == "cuda":
        found = accelerator_of(device_name(device))
        if found is not None and found.power is not None:
            return found.power, f"{found.source}: the most it draws"
    if device.type == "cpu":
        import torch

        watts = WATTS_A_CORE * torch.get_num_threads()
        return Amount(watts, "W"), f"a rule of thumb, {WATTS_A_CORE:.0f} W a core in use; not measured"
    return None


def load_of_device(device: torch.device) -> str:
    """Return what to say of a CPU that has more to do than it has cores; "" for one that has not, and for others."""
    if device.type != "cpu" or not hasattr(os, "getloadavg"):
        return ""
    load, cores = os.getloadavg()[0], _cores()
    if load < _BUSY * cores:
        return ""
    return (
        f"The machine is busy: {load:.1f} processes want its {cores} core{'s' if cores > 1 else ''} at once."
    )


def _cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measured_cpu() -> Accelerator:
    """Measure what this machine's CPU computes at most, in float32: the best of a few products of large matrices."""
    import torch

    left, right = torch.rand(_SIDE, _SIDE), torch.rand(_SIDE, _SIDE)
    best = 0.0
    for _ in range(_PRODUCTS):
        begin = time.perf_counter()
        torch.mm(left, right)
        best = max(best, 2 * _SIDE**3 / (time.perf_counter() - begin))
    cores = torch.get_num_threads()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Accelerator(
        CPU,
        "CPU",
        {"float32": Amount(best, "FLOP/s")},
        Amount(float(memory), "bytes"),
        f"measured now: the fastest of {_PRODUCTS} products of two {_SIDE:,} × {_SIDE:,} matrices on {cores} threads",
        power=Amount(WATTS_A_CORE * cores, "W"),
        power_is=f"a rule of thumb, {WATTS_A_CORE:.0f} W a core in use",
    )
