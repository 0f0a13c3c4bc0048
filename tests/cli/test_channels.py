"""Results to standard output, everything else to standard error."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmkit.cli import channels
from llmkit.errors import UsageError

# On the import path of the real command: a library that talks, in every way there is, whenever it is imported.
NOISE = """
import ctypes, os, subprocess, sys

def talk(name):
    print("NOISE print", name)
    sys.stdout.write("NOISE write\\n")
    sys.__stdout__.write("NOISE original\\n")
    os.write(1, b"NOISE descriptor\\n")
    ctypes.CDLL(None).puts(b"NOISE C")
    ctypes.CDLL(None).printf(b"NOISE C, unflushed")
    subprocess.run(["echo", "NOISE child"])

class Talker:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in ("torch", "transformers.pipelines", "transformers.models.bert.modeling_bert"):
            talk(name)

sys.meta_path.insert(0, Talker)
"""


@pytest.fixture
def noisy(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(NOISE)
    root = Path(__file__).parents[2]
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(root)])}


@pytest.mark.parametrize("arguments", [(), ("--quiet",), ("--output", "out.jsonl")], ids=" ".join)
def test_what_a_library_prints_never_reaches_the_results(llmkit, tiny, noisy, tmp_path, arguments):
    done = llmkit(
        "pipeline", "text-classification", "a text", "--model", tiny("text-classification"), *arguments,
        env=noisy, cwd=tmp_path, fresh=True,
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert b"NOISE" not in done.stdout
    if arguments[:1] == ("--output",):
        assert done.stdout == b""
        assert "NOISE" not in (tmp_path / "out.jsonl").read_text()
    else:
        assert done.lines[0].keys() == {"label", "score"}
        assert len(done.lines) == 1
    for way in ("print", "write", "original", "descriptor", "C", "C, unflushed", "child"):
        assert f"NOISE {way}" in done.stderr, way


def test_claimed_output_is_where_results_go(tmp_path):
    code = """
import os, sys
from llmkit.cli.channels import claim_stdout
print("before")
results = claim_stdout()
print("after"); os.write(1, b"raw\\n")
results.file.write(b"result\\n"); results.file.flush()
assert results.is_terminal is False
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "before\nresult\n"
    assert done.stderr.splitlines() == ["raw", "after"] or done.stderr.splitlines() == ["after", "raw"]


class TestWords:
    @pytest.fixture(autouse=True)
    def loud_again(self):
        yield
        channels.set_quiet(False)

    def test_quiet_silences_notes_alone(self, capsys):
        channels.note("one")
        channels.set_quiet(True)
        assert channels.is_quiet()
        channels.note("two")
        channels.warn("three")
        channels.report(UsageError("four", hint="five"))
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err == "one\nwarning: three\nerror: four.\nfive\n"

    @pytest.mark.parametrize(("no_color", "colored"), [("", True), ("1", False)])
    def test_color_on_a_terminal_unless_told_not_to(self, monkeypatch, capsys, no_color, colored):
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        monkeypatch.setenv("NO_COLOR", no_color)
        channels.warn("careful")
        assert ("\x1b[33m" in capsys.readouterr().err) is colored

    def test_nobody_listening_is_no_error(self, monkeypatch):
        class Gone:
            def isatty(self):
                return False

            def write(self, text):
                raise BrokenPipeError

            def flush(self):
                raise BrokenPipeError

        monkeypatch.setattr(sys, "stderr", Gone())
        channels.warn("hello?")
