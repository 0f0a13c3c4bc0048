"""What the entry point settles before anything else is imported."""

import os
import signal
import subprocess
import sys
import time

import pytest

from llmkit.__main__ import main
from tests.fixtures.command import TIMEOUT, base_environment


@pytest.fixture(autouse=True)
def own_interruptions():
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, "2000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)],
)
def test_threads_sleep_soon_unless_the_user_says_otherwise(monkeypatch, given, spins):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_W"))
    }
    monkeypatch.setattr(os, "environ", environment | given)
    monkeypatch.setattr("sys.argv", ["llmkit", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert os.environ.get("GOMP_SPINCOUNT") == spins


# Ctrl-C while the command is being imported

# Says when it is about to begin, and interrupts itself at an import, counted from there; at none where that is 0.
PROGRAM = """
import os, signal, sys

count, place = 0, int(sys.argv.pop(1))

def interrupt(event, given):
    global count
    if event == "import":
        count += 1
        if count == place:
            os.kill(os.getpid(), signal.SIGINT)

from llmkit.__main__ import main

sys.argv[0] = "llmkit"
os.write(1, b"begun\\n")
sys.addaudithook(interrupt)
main()
"""
# It waits for its first text, so that it is there to be interrupted however late that is.
WAITS = ("embed", "-m", "minilm", "-q")


def start(place, *arguments, **options):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(place), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=base_environment(),
        **options,
    )
    assert process.stdout.readline() == b"begun\n"
    return process


def ended(process):
    """How a process ended whose standard input nobody closes."""
    code = process.wait(TIMEOUT)
    said = process.stdout.read(), process.stderr.read().decode()
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()
    return code, *said


@pytest.mark.parametrize("place", [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144])
def test_an_interruption_at_an_early_import_ends_as_a_later_one(place):
    assert ended(start(place, *WAITS)) == (130, b"", "warning: interrupted.\n")


@pytest.mark.parametrize("milliseconds", [0, 1, 3, 10, 20, 30, 45, 60, 80, 100, 150, 300])
def test_an_interruption_at_an_early_moment_ends_as_a_later_one(milliseconds):
    process = start(0, *WAITS)
    time.sleep(milliseconds / 1000)
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, b"", "warning: interrupted.\n")


def test_an_interruption_of_a_warm_call_that_has_not_begun(tmp_path):
    call = ("pipeline", "text-classification", "x", "--warm")
    assert ended(start(1, *call, cwd=tmp_path)) == (130, b"", "warning: interrupted.\n")


def test_who_ignores_interruptions_goes_on_doing_so():
    """A shell's script has what it starts in the background ignore them."""
    ignores = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    for place in (1, 20):
        code, said, complaint = ended(start(place, "tasks", "summarization", **ignores))
        assert (code, complaint) == (0, "")
        assert b"summarization" in said
