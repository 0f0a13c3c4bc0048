"""What is looked at before torch and a model are loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from llmkit.cli.loading import LEAST_ADDRESS_SPACE
from tests.fixtures.command import TIMEOUT, base_environment


@pytest.mark.parametrize("kilobytes", [500_000, 900_000, LEAST_ADDRESS_SPACE // 1024 - 1])
def test_too_little_address_space_is_one_message(kilobytes: int) -> None:
    """Without it libraries raise what says nothing, crash, or wait without end."""
    call = f'ulimit -v {kilobytes} && exec "$0" -m llmkit embed "a day" -m minilm -f json'
    done = subprocess.run(
        ["sh", "-c", call, sys.executable],
        env=base_environment(), capture_output=True, text=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: this process may take ")
    assert "ulimit -v 1572864" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_what_needs_no_torch_needs_less() -> None:
    call = 'ulimit -v 900000 && exec "$0" -m llmkit tokenize "a day" -m minilm -f json'
    done = subprocess.run(
        ["sh", "-c", call, sys.executable],
        env=base_environment(), capture_output=True, text=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
