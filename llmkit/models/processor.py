"""What the processor of this machine can do, as Linux says it."""

from __future__ import annotations

import functools
from pathlib import Path


@functools.cache
def processor() -> tuple[str, frozenset[str]]:
    """Return the maker of the first processor and the names of its abilities; both empty where that is not told.

    For example ``("AuthenticAMD", {"avx2", "avx512f", "avx512_bf16", …})``.
    """
    fields: dict[str, str] = {}
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if not value:  # the next processor is like this one
                    break
                fields[name.strip()] = value.strip()
    except OSError:
        pass
    return fields.get("vendor_id", ""), frozenset(fields.get("flags", fields.get("Features", "")).split())
