"""What devices can compute at most, FLOPs a second by precision: what a share of the peak is a share of.

Dense matrix products, without the factor of two that data sheets give for sparsity. float32 is that of the ordinary
cores: torch multiplies float32 matrices there unless TF32 is allowed. A device that is not here has no peak: none is
guessed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_T = 1e12
_HALF = ("bfloat16", "float16")
# The first whose pattern is in the name that torch gives: bfloat16 and float16, float32, and the maker's data sheet.
PEAKS: tuple[tuple[str, float, float | None, str], ...] = (
    (r"\bB200\b", 2250 * _T, None, "NVIDIA DGX B200 data sheet: 36 PFLOPS of 8, sparse"),
    (r"\bH200\b", 989.4 * _T, 66.9 * _T, "NVIDIA H200 data sheet"),
    (r"\bH100 NVL\b", 835.5 * _T, 60 * _T, "NVIDIA H100 NVL data sheet"),
    (r"\bH100 PCIe\b", 756 * _T, 51.2 * _T, "NVIDIA H100 data sheet, PCIe"),
    (r"\bH100 80GB HBM3\b", 989.4 * _T, 66.9 * _T, "NVIDIA H100 data sheet, SXM"),
    (r"\bA100\b", 312 * _T, 19.5 * _T, "NVIDIA A100 data sheet"),
    (r"\bA40\b", 149.7 * _T, 37.4 * _T, "NVIDIA A40 data sheet"),
    (r"\bA30\b", 165 * _T, 10.3 * _T, "NVIDIA A30 data sheet"),
    (r"\bA10\b", 125 * _T, 31.2 * _T, "NVIDIA A10 data sheet"),
    (r"\bL40S\b", 362.05 * _T, 91.6 * _T, "NVIDIA L40S data sheet"),
    (r"\bL40\b", 181.05 * _T, 90.5 * _T, "NVIDIA L40 data sheet"),
    (r"\bL4\b", 121 * _T, 30.3 * _T, "NVIDIA L4 data sheet"),
    (r"\bRTX A6000\b", 154.8 * _T, 38.7 * _T, "NVIDIA RTX A6000 data sheet"),
    (r"\bRTX 4090$", 165.2 * _T, 82.6 * _T, "NVIDIA Ada architecture paper, float32 accumulation"),
    (r"\bRTX 3090$", 71 * _T, 35.6 * _T, "NVIDIA GA102 architecture paper, float32 accumulation"),
    (r"\bMI300X\b", 1307.4 * _T, 163.4 * _T, "AMD Instinct MI300X data sheet"),
)
# These compute float16 in their matrix cores, and no bfloat16.
FLOAT16_ALONE: tuple[tuple[str, float, float, str], ...] = (
    (r"\bV100-SXM", 125 * _T, 15.7 * _T, "NVIDIA V100 data sheet, SXM2"),
    (r"\bV100-PCIE", 112 * _T, 14 * _T, "NVIDIA V100 data sheet, PCIe"),
    (r"\bT4\b", 65 * _T, 8.1 * _T, "NVIDIA T4 data sheet"),
)


def peak_of(name: str, precision: str) -> float | None:
    """Return the FLOPs a second of a device, by the name that torch gives it; None where they are not known."""
    for table, half in ((PEAKS, _HALF), (FLOAT16_ALONE, _HALF[1:])):
        for pattern, in_half, in_full, _ in table:
            if re.search(pattern, name):
                return in_half if precision in half else in_full if precision == "float32" else None
    return None


def peak_of_device(device: torch.device, precision: str) -> float | None:
    """Return the FLOPs a second that a device computes at most; None for a CPU, whose peak no table knows."""
    import torch

    if device.type != "cuda" or (precision == "float32" and torch.backends.cuda.matmul.allow_tf32):
        return None
    return peak_of(torch.cuda.get_device_name(device), precision)
