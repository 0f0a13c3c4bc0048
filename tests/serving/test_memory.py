"""Whether memory is scarce, as the system's files say."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmkit.hardware import main_memory
from llmkit.serving import memory


@pytest.mark.parametrize(
    ("available", "limit", "used", "scarce"),
    [
        (900, "max", 0, False),
        (70, "max", 0, True),
        (900, "1000000", 500_000, False),
        (900, "1000000", 960_000, True),
        (900, "1000000", 1_460_000, True),
        (None, None, 0, False),
    ],
)
def test_it_is_scarce_below_a_share(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    available: int | None,
    limit: str | None,
    used: int,
    scarce: bool,
) -> None:
    """A kilobyte of files in the group's memory can be dropped."""
    if available is not None:
        (tmp_path / "meminfo").write_text(
            f"MemTotal: 1000 kB\nMemAvailable: {available} kB\nHugePages_Total: 0\n"
        )
    if limit is not None:
        (tmp_path / "memory.max").write_text(limit)
        (tmp_path / "memory.current").write_text(str(used + 1000))
        (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 600\nactive_file 400\n")
    monkeypatch.setattr(main_memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(main_memory, "_GROUPS", tmp_path)

    assert memory.is_scarce() is scarce
