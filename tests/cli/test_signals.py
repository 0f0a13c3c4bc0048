"""Long runs that are interrupted: one line, the right exit code, and how to resume."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest

from tests.cli.running import TIMEOUT, rest, start, text_of, wait_for


def test_ctrl_c_says_how_to_resume(terminal, tiny, many_texts, tmp_path):
    out = tmp_path / "out.jsonl"
    child = terminal(
        *("pipeline", "text-classification", "-i", many_texts, "-m", tiny("text-classification"), "-o", out),
        *("--batch-size", "1"),
        fresh=True,
    )
    wait_for(out.with_name("out.jsonl.progress"), child.isalive)
    child.sendintr()
    last = text_of(rest(child)).splitlines()[-1]
    assert child.exitstatus == 130
    assert re.search(
        r"warning: interrupted: \d+ rows are done and kept; run the same command with --resume", last
    )
    assert not out.exists()


@pytest.mark.parametrize(
    ("number", "code", "says"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "told to stop")]
)
def test_a_signal_ends_a_run_with_one_line(tiny, many_texts, tmp_path, number, code, says):
    out = tmp_path / "out.csv"
    call = ["pipeline", "text-classification", "-i", many_texts, "-m", tiny("text-classification"), "-o", out]
    child = start(*call, "--batch-size", "1")
    wait_for(out.with_name("out.csv.progress"), lambda: child.poll() is None)
    child.send_signal(number)
    _, errors = child.communicate(timeout=TIMEOUT)
    assert child.returncode == code
    assert re.fullmatch(rf"warning: {says}: \d+ rows are done and kept; run the same command .*\n", errors)


def test_a_signal_while_everything_is_still_being_loaded(tiny):
    child = start("pipeline", "text-classification", "x", "-m", tiny("text-classification"))
    wait_for_import(child, "torch")
    child.send_signal(signal.SIGTERM)
    output, errors = child.communicate(timeout=TIMEOUT)
    assert (child.returncode, output, errors) == (143, "", "warning: told to stop.\n")


def wait_for_import(child, library):
    while f"/{library}/lib" not in Path(f"/proc/{child.pid}/maps").read_text():
        assert child.poll() is None
        time.sleep(0.01)
