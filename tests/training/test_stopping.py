"""Signals while training: noted first, obeyed at once the second time."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from llmkit.training.stopping import StopRequest


def test_a_signal_is_noted_and_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert stop.received is None
        signal.raise_signal(signal.SIGTERM)
        assert stop.received is signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_interrupt_ends_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), StopRequest():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # a launcher that is killed tells so several times
        time.sleep(0.6)
        signal.raise_signal(signal.SIGINT)


def test_a_second_signal_ends_a_program_that_handles_none() -> None:
    program = (
        "import signal, time\n"
        "from llmkit.training.stopping import StopRequest\n"
        "with StopRequest():\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    time.sleep(0.6)\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    print('still there')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "")
