"""Whether memory is running out, as Linux and its control groups tell."""

from __future__ import annotations

from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")
_SCARCE = 0.08  # of what there is


def is_scarce() -> bool:
    """Tell whether less than 8 % of this machine's memory, or of what its control group allows, is to be had."""
    return any(total and free / total < _SCARCE for free, total in (_of_machine(), _of_group()))


def _of_machine() -> tuple[float, float]:
    """Return the bytes that are to be had, and those that there are; zeros where nothing tells."""
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0, 0.0
    values = {
        name: float(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)
    }
    return values.get("MemAvailable", 0.0), values.get("MemTotal", 0.0) if "MemAvailable" in values else 0.0


def _of_group() -> tuple[float, float]:
    """Return the same of the control group; files that the system can drop count as to be had."""
    try:
        limit = (_GROUP / "memory.max").read_text(encoding="ascii").strip()
        used = float((_GROUP / "memory.current").read_text(encoding="ascii"))
        statistics = dict(
            line.split() for line in (_GROUP / "memory.stat").read_text(encoding="ascii").splitlines()
        )
    except (OSError, ValueError):
        return 0.0, 0.0
    if limit == "max":
        return 0.0, 0.0
    used -= float(statistics.get("inactive_file", 0)) + float(statistics.get("active_file", 0))
    return float(limit) - used, float(limit)
