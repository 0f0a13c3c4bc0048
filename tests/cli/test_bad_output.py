"""Results that cannot go where they should: full disks, closed streams, files that are there or locked."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.bad_input import MOST_LINES, check_message
from tests.fixtures.command import base_environment
from tests.fixtures.disk import small_disk


def test_a_full_device(tiny):
    with Path("/dev/full").open("wb") as full:
        done = fresh(["text-classification", "x", "-m", tiny("text-classification")], stdout=full)
    assert done.returncode == 1
    assert done.stderr.decode() == "error: cannot write standard output: no space left on the device.\n"


@pytest.mark.parametrize(
    "arguments",
    [("pipeline", "text-classification", "x"), ("tasks",), ("--version",), ("pipeline", "--help")],
    ids=" ".join,
)
def test_closed_standard_output_is_an_error(tiny, arguments):
    model = ("-m", str(tiny("text-classification"))) if "x" in arguments else ()
    done = in_bash('"$@" >&-', *arguments, *model)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == "error: cannot write standard output: it is closed.\n"


def test_other_descriptors_may_be_closed(tiny, tmp_path):
    call = ("pipeline", "text-classification", "-m", str(tiny("text-classification")))
    done = in_bash('"$@" <&-', *call)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().splitlines()[0] == "error: there is no input."
    # What a library would print to the missing standard error must not land in the file that is opened next.
    done = in_bash('"$@" 0<&- >&- 2>&-', *call, "x", "-o", str(tmp_path / "out.jsonl"))
    assert done.returncode == 0
    assert [set(json.loads(line)) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [
        {"label", "score"}
    ]


def in_bash(line, *arguments):
    command = [sys.executable, "-m", "llmkit", *arguments]
    return subprocess.run(
        ["bash", "-c", line, "bash", *command], capture_output=True, env=base_environment(), check=False
    )


def test_a_full_disk_on_output(llmkit, tiny, tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("a good film\n" * 600)
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk) as mounted:
        # Where nothing can be mounted, a limit on the size of files fails the same write.
        arguments = [
            "feature-extraction",
            "-i",
            file,
            "-o",
            disk / "out.jsonl",
            "-m",
            tiny("feature-extraction"),
        ]
        done = fresh(arguments, preexec_fn=None if mounted else limit_files, stdout=subprocess.PIPE)
        assert done.returncode == 1
        assert done.stdout == b""
        reason = "no space left on the device" if mounted else "File too large"
        assert f"error: cannot write {disk / 'out.jsonl'}: {reason}" in done.stderr.decode()
        assert len(done.stderr.splitlines()) <= MOST_LINES
        assert not (disk / "out.jsonl").exists()


def limit_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))


def fresh(arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "llmkit", "pipeline", *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=base_environment(),
        check=False,
        **options,
    )


def test_an_output_in_the_place_of_a_file(llmkit, tiny, tmp_path):
    (tmp_path / "file").write_text("x")
    done = llmkit(
        *("pipeline", "text-classification", "x", "-m", tiny("text-classification")),
        *("-o", tmp_path / "file" / "out.jsonl"),
    )
    check_message(done, 1, "cannot write", "out.jsonl")


def test_an_output_where_nothing_can_be_written(llmkit, tiny):
    done = llmkit(
        *("pipeline", "text-classification", "x", "-m", tiny("text-classification"), "-o", "/proc/out.jsonl")
    )
    check_message(done, 1, "cannot write /proc/out.jsonl")
    assert "--resume" not in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_locked_folder(llmkit, tiny, tmp_path):
    tmp_path.chmod(0o500)
    done = llmkit(
        *("pipeline", "text-classification", "x", "-m", tiny("text-classification")),
        *("-o", tmp_path / "out.jsonl"),
    )
    tmp_path.chmod(0o700)
    check_message(done, 1, "cannot write", "Permission denied")


def test_an_output_that_is_there_is_kept(llmkit, tiny, tmp_path):
    out = tmp_path / "out.jsonl"
    out.write_text("mine\n")
    call = ("pipeline", "text-classification", "x", "-m", tiny("text-classification"), "-o", out)
    check_message(llmkit(*call), 2, "out.jsonl is there already", "--overwrite")
    assert out.read_text() == "mine\n"
    assert llmkit(*call, "--overwrite").code == 0
    assert "label" in out.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_run_without_a_result_leaves_nothing(llmkit, tiny, tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("{oops\n{\n")
    call = ("pipeline", "text-classification", "-m", tiny("text-classification"), "-o", tmp_path / "out.json")
    assert llmkit(*call, "-i", file).code == 2
    assert llmkit(*call, "x", "-m", tiny("wrong_head")).code == 1
    assert llmkit(*call, "x", "-p", "function_to_apply=what").code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_failed_json_document_leaves_standard_output_empty(llmkit, tiny):
    call = ("pipeline", "text-classification", "", "", "-m", tiny("text-classification"), "--format", "json")
    check_message(llmkit(*call), 2, "'text' is empty")


def test_two_runs_do_not_write_one_output(llmkit, tiny, tmp_path):
    fifo, out = tmp_path / "texts.txt", tmp_path / "out.jsonl"
    os.mkfifo(fifo)
    call = ("pipeline", "text-classification", "-m", str(tiny("text-classification")), "-o", str(out))
    first = subprocess.Popen(
        [sys.executable, "-m", "llmkit", *call, "-i", str(fifo)],
        env=base_environment(),
        stderr=subprocess.PIPE,
    )
    with fifo.open("w") as texts:
        texts.write("a\n" * 64)
        texts.flush()
        while not out.with_name("out.jsonl.progress").exists():
            assert first.poll() is None
            time.sleep(0.01)
        for option in ((), ("--resume",), ("--overwrite",)):
            check_message(llmkit(*call, "b", *option), *refusal(option))
        texts.write("a\n" * 6)
    assert first.wait(60) == 0
    first.stderr.close()
    assert len(out.read_text().splitlines()) == 70


def refusal(option):
    """Another call cannot resume it, even if nobody were writing; all else waits for the first."""
    return (2, "another call") if option == ("--resume",) else (1, "another run is writing", "out.jsonl")
