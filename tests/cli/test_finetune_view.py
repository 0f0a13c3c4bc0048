"""What a person sees of a run: a live view on a terminal, plain lines elsewhere, and nothing breaks without either."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from llmkit.cli.finetune_view import curve, step_line
from tests.cli.test_finetune import environment, folder
from tests.fixtures.command import base_environment

__all__ = ["folder"]  # a fixture
COMMAND = [sys.executable, "-m", "llmkit", "finetune", "run.yaml"]
CODES = re.compile(r"\x1b\[[\d;?]*[A-Za-z]|\r")


@pytest.fixture
def terminal(folder: Path) -> Iterator[Callable[..., pexpect.spawn]]:
    """Start a run on a terminal."""
    started: list[pexpect.spawn] = []

    def start(*arguments: str) -> pexpect.spawn:
        settings = {key: value for key, value in base_environment().items() if key != "COLUMNS"}
        child = pexpect.spawn(
            COMMAND[0],
            [*COMMAND[1:], *arguments],
            env=settings | environment(folder) | {"TERM": "xterm-256color"},
            cwd=folder,
            timeout=120,
            dimensions=(30, 140),
            encoding="utf-8",
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.close(force=True)


def test_the_live_view(terminal: Callable[..., pexpect.spawn]) -> None:
    child = terminal("--set", "training.logging_steps=3")
    child.expect(pexpect.EOF)
    child.close()
    screen = CODES.sub("", child.before)
    assert child.exitstatus == 0, screen
    assert re.search(r"\d+/90 steps, \d+:\d\d left", screen)
    assert re.search(r"loss \d\.\d{3} [▁▂▃▄▅▆▇█]+ \d\.\d{3}", screen)
    assert re.search(
        r"step \d+/90 +epoch \d+\.\d\d +loss \d\.\d{4} +rate \d\.\d\de-\d\d +[\d,]+ tokens/s +padding \d+%",
        screen,
    )
    assert "evaluation after step 9: loss" in screen
    assert "MFU" not in screen  # no table knows the peak of a CPU
    assert "Traceback" not in screen


def test_ctrl_c_once_saves_and_stops(terminal: Callable[..., pexpect.spawn], folder: Path) -> None:
    child = terminal("--set", "training.epochs=2000")
    child.expect("evaluation after step 9:")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    screen = CODES.sub("", child.before)
    assert child.exitstatus == 130, screen
    assert "go on with: llmkit finetune run.yaml --set training.epochs=2000 --resume" in screen
    assert "Traceback" not in screen
    newest = max((folder / "out" / "checkpoints").glob("step-*"))
    saved = json.loads((newest / "state.json").read_text())["progress"]["step"]
    assert f"saved after step {saved:,}" in screen


def test_nobody_reads_standard_error(folder: Path) -> None:
    """The reader of a pipe is gone from the first line on; the run goes its way."""
    reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    reader.wait()
    done = subprocess.run(
        COMMAND,
        cwd=folder,
        env=base_environment() | environment(folder),
        stdout=subprocess.PIPE,
        stderr=reader.stdin,
        check=False,
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["steps"] == 90


def test_a_line_for_a_person() -> None:
    line = {
        "step": 1200,
        "epoch": 1.5,
        "loss": 0.25,
        "learning_rate": 3e-5,
        "tokens_per_second": 12345.6,
        "padding": 0.034,
    }
    plain = step_line(line, 4000)
    assert plain == "step 1,200/4,000  epoch 1.50  loss 0.2500  rate 3.00e-05  12,346 tokens/s  padding 3%"
    assert step_line({**line, "mfu": 0.412}, 4000) == f"{plain}  MFU 41%"


def test_a_curve_of_any_length() -> None:
    assert curve([]) == ""
    assert curve([1.0]) == "loss 1.000 ▁ 1.000"
    long = curve([1000.0 - number for number in range(1000)])
    assert "█" in long and len(long) < 90
