"""A finished run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.finished_run import finished_run


@pytest.fixture
def run_folder(tmp_path: Path, tiny: Callable[[str], Path]) -> Path:
    """A finished run, trained from a folder of this machine on a file of this machine."""
    return finished_run(tmp_path, tiny("text-classification"))
