"""Memory as the system's files tell it, made as they are on machines with and without control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmkit.hardware import main_memory
from llmkit.hardware.main_memory import MainMemory, of_group, of_machine


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(main_memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(main_memory, "_GROUPS", tmp_path)
    (tmp_path / "memory").mkdir()
    return tmp_path


def test_the_machine(files: Path) -> None:
    assert of_machine() is None
    (files / "meminfo").write_text("MemTotal: 1000 kB\nMemAvailable: 700 kB\nHugePages_Total: 0\n")
    assert of_machine() == MainMemory(700 * 1024, 1000 * 1024)


@pytest.mark.parametrize(
    ("limit", "used"),
    [
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ],
)
def test_the_group_and_the_files_in_it_that_can_be_dropped(files: Path, limit: str, used: str) -> None:
    (files / limit).write_text("5000\n")
    (files / used).write_text("4000\n")
    (files / limit).parent.joinpath("memory.stat").write_text("anon 5\ninactive_file 600\nactive_file 400\n")
    assert of_group() == MainMemory(2000, 5000)


def test_a_group_without_a_limit(files: Path) -> None:
    assert of_group() is None
    (files / "memory.max").write_text("max\n")
    (files / "memory.current").write_text("4000\n")
    (files / "memory.stat").write_text("anon 5\n")
    assert of_group() is None


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = of_machine()
    assert found is not None and 0 < found.available < found.total
