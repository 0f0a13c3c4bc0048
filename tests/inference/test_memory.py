"""A file of any length takes the memory of a window, not of the file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.command import base_environment

PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""


def peak_mebibytes(rows: int, folder: Path, model: Path) -> int:
    """Peak resident memory of a file run over so many rows."""
    source = folder / f"{rows}.txt"
    source.write_text("Angela Merkel met the president in Paris\n" * rows)
    command = [sys.executable, "-m", "llmkit", "pipeline", "text-classification", "-m", str(model), "-q"]
    command += ["-i", str(source), "-o", str(folder / f"{rows}.jsonl")]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *command],
        capture_output=True,
        text=True,
        check=True,
        env=base_environment(),
    )
    assert len((folder / f"{rows}.jsonl").read_text().splitlines()) == rows
    return int(done.stdout)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    model = tiny("text-classification")
    short, long = (peak_mebibytes(rows, tmp_path, model) for rows in (6_000, 60_000))
    assert long - short < 40, f"{short} MiB for 6,000 rows, {long} MiB for 60,000"
