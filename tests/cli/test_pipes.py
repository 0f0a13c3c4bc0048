"""In a pipe: one that closes, and lines that come while the command runs."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest

from tests.cli.running import COMMAND, TIMEOUT, start
from tests.fixtures.command import base_environment


@pytest.mark.parametrize(
    ("form", "source"),
    [
        ("jsonl", "file"),
        ("csv", "stdin"),
        pytest.param("jsonl", "stdin", marks=pytest.mark.slow),
        pytest.param("csv", "file", marks=pytest.mark.slow),
    ],
)
def test_a_closed_pipe_ends_the_run_quietly(tiny, many_texts, source, form):
    given = f"-i {many_texts}" if source == "file" else f"< {many_texts}"
    line = f'set -o pipefail; "$@" {given} --format {form} | head -1'
    command = [*COMMAND, "pipeline", "text-classification", "-m", str(tiny("text-classification"))]
    done = subprocess.run(
        ["bash", "-c", line, "bash", *command],
        capture_output=True,
        env=base_environment(),
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [["tasks"], ["tasks", "--format", "json"], [], ["--help"], ["--version"], ["pipeline", "-h"]]
)
def test_a_closed_pipe_ends_a_list_quietly(arguments):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*COMMAND, *arguments], stdout=write, stderr=subprocess.PIPE, env=base_environment(), check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_line_of_a_live_source_is_answered_before_the_next_is_written(tiny, form):
    child = start(
        *("pipeline", "text-classification", "-m", tiny("text-classification"), "--format", form),
        stdin=subprocess.PIPE,
    )
    for number, text in enumerate(("a good film", "a bad film", "another")):
        child.stdin.write(f"{text}\n")
        child.stdin.flush()
        if form == "csv" and number == 0:
            assert child.stdout.readline() == "label,score\n"
        line = child.stdout.readline()
        assert line.startswith("{") if form == "jsonl" else re.fullmatch(r"\w+,[\d.]+\n", line)
    output, errors = child.communicate(timeout=TIMEOUT)
    assert (child.returncode, output, errors) == (0, "", "")


def test_live_rows_that_fail_are_named_at_once(tiny):
    child = start("pipeline", "text-classification", "-m", tiny("text-classification"), stdin=subprocess.PIPE)
    for text in ("good", "", "bad"):
        child.stdin.write(f"{text}\n")
        child.stdin.flush()
        if text:
            assert json.loads(child.stdout.readline())
        else:
            assert child.stderr.readline() == "warning: rejected: stdin:2: 'text' is empty\n"
    _, errors = child.communicate(timeout=TIMEOUT)
    assert (child.returncode, errors) == (3, "warning: 1 of 3 rows were rejected.\n")
