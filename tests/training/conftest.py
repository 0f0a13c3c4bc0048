"""What holds for every test of training."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tokenized examples in a folder of the test's own."""
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
