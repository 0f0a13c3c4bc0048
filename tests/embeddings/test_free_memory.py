"""What was freed is not kept."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import gc
from pathlib import Path
from llmkit.embeddings.free_memory import give_back_free_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 1_000_000

before = resident()
kept = [b"x" * (100_000 + number) for number in range(2000)]
del kept[:-1]  # the last one lies above all that is free now
gc.collect()
freed = resident()
give_back_free_memory()
print(before, freed, resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_what_is_free_goes_back():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    before, freed, after = map(int, done.stdout.split())
    assert freed - before > 100, "else there is nothing to give back"
    assert after - before < 50
