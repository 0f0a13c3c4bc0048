"""What is looked at before torch and a model are loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from llmkit.cli.loading import LEAST_ADDRESS_SPACE
from tests.fixtures.command import TIMEOUT, base_environment


def within(kilobytes: int, call: str) -> subprocess.CompletedProcess[str]:
    """Run a call of the command in so much address space."""
    return subprocess.run(
        ["sh", "-c", f'ulimit -v {kilobytes} && exec "$0" -m llmkit {call}', sys.executable],
        env=base_environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


@pytest.mark.parametrize("kilobytes", [500_000, 900_000, LEAST_ADDRESS_SPACE // 1024 - 1])
def test_too_little_address_space_is_one_message(kilobytes: int) -> None:
    """Without it libraries raise what says nothing, crash, or wait without end."""
    done = within(kilobytes, 'embed "a day" -m minilm -f json')
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: this process may take ")
    assert "ulimit -v 1572864" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_what_needs_no_torch_needs_less() -> None:
    done = within(900_000, 'tokenize "a day" -m minilm -f json')
    assert (done.returncode, done.stderr) == (0, "")
