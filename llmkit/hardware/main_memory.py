"""The memory of a machine, as Linux and its control groups tell: what there is, and what is to be had of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_GROUPS = Path("/sys/fs/cgroup")
# Of version 2 and of version 1: the limit, what is used, and the statistics.
_FILES = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)


@dataclass(frozen=True, slots=True)
class MainMemory:
    """Bytes: all of them, and those that a process could have."""

    available: int
    total: int


def of_machine() -> MainMemory | None:
    """Return the memory of the machine; None where the system does not tell."""
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
        sizes = {
            name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)
        }
        return MainMemory(sizes["MemAvailable"], sizes["MemTotal"])
    except (OSError, ValueError, KeyError, IndexError):
        return None


def of_group() -> MainMemory | None:
    """Return what this process's control group may have; None without a limit.

    Files that lie in memory and can be dropped are to be had, as they are of the machine's.
    """
    for limit_file, used_file, statistics_file in _FILES:
        try:
            limit = (_GROUPS / limit_file).read_text(encoding="ascii").strip()
            used = int((_GROUPS / used_file).read_text(encoding="ascii"))
            lines = (_GROUPS / statistics_file).read_text(encoding="ascii").splitlines()
            statistics = {name: int(value) for name, value in map(str.split, lines)}
        except (OSError, ValueError):
            continue
        if limit.isdigit():  # "max" is no limit
            droppable = statistics.get("inactive_file", 0) + statistics.get("active_file", 0)
            return MainMemory(max(0, int(limit) - used + droppable), int(limit))
    return None
