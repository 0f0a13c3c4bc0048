"""What holds for every test of training."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.torture import COUNTS


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tokenized examples in a folder of the test's own."""
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the runs went through that had to end in the same bytes."""
    if COUNTS:
        terminalreporter.section("runs that were ended, gone on with, and found whole")
        for what, count in COUNTS.most_common():
            terminalreporter.write_line(f"{count:6,}  {what}")
        terminalreporter.write_line(
            f"{COUNTS.total():6,}  in all; each ended in the same weights, bit for bit"
        )
