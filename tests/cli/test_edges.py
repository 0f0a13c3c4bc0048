"""Edges of the command that a review found open: each was wrong once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.command import Command, base_environment
from tests.fixtures.media import write_media


def start(*arguments: str | Path) -> subprocess.Popen[bytes]:
    """A command whose standard input stays open."""
    return subprocess.Popen(
        [sys.executable, "-m", "llmkit", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=base_environment(),
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_a_live_stream_is_open(number: int, code: int, tiny: Callable[[str], Path]) -> None:
    process = start("pipeline", "text-classification", "-m", tiny("text-classification"))
    process.stdin.write(b"Paris\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["label"]
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    assert b"Fatal" not in process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_ending_ends_at_once_when_told_again(number: int) -> None:
    program = f"""
import atexit, os, time
from llmkit.cli.main import _Boundary

@atexit.register
def is_told_again():
    os.kill(os.getpid(), {int(number)})
    time.sleep(600)

with _Boundary():
    raise KeyboardInterrupt
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=base_environment(),
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "warning: interrupted.\n")


def in_a_removed_folder(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir()
    return subprocess.run(
        [
            "bash",
            "-c",
            'cd "$0" && rmdir "$0" && exec "$@"',
            folder,
            sys.executable,
            "-m",
            "llmkit",
            *arguments,
        ],
        capture_output=True,
        text=True,
        env=base_environment(),
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "call",
    ["pipeline sentiment-analysis fine", "embed fine", "params bert-base", "finetune run.yaml", "runs", "doctor",
     "config init text-classification", "serve fill-mask"],
)  # fmt: skip
def test_a_working_folder_that_is_gone(call: str, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    done = in_a_removed_folder(folder, *call.split())
    said = f"error: the working folder {folder} is gone; cd to one that is there.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


@pytest.mark.parametrize(
    "call", ["--help", "--version", "", "tasks", "tasks fill-mask", "schema", "embed --help"]
)
def test_what_needs_no_working_folder(call: str, tmp_path: Path) -> None:
    done = in_a_removed_folder(tmp_path / "gone", *call.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_a_wrong_call_in_a_working_folder_that_is_gone(tmp_path: Path) -> None:
    done = in_a_removed_folder(tmp_path / "gone", "pipelin")
    assert done.returncode == 2
    assert "did you mean pipeline" in done.stderr


def test_a_reader_that_leaves_a_live_stream(tiny: Callable[[str], Path]) -> None:
    process = start("pipeline", "text-classification", "-m", tiny("text-classification"))
    process.stdin.write(b"Paris\n")
    process.stdin.flush()
    assert process.stdout.readline()
    process.stdout.close()
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            process.stdin.write(b"Paris\n")
            process.stdin.flush()
        except BrokenPipeError:
            break
        time.sleep(0.2)
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == b""


def test_the_bare_command_shows_its_help(llmkit: Command) -> None:
    done = llmkit()
    assert done.code == 0
    assert "Usage: llmkit" in done.text
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", ["--help", "--version", "pipeline --help", "tasks"])
def test_a_full_disk_on_standard_output(arguments: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m llmkit {arguments} > /dev/full"],
        capture_output=True,
        text=True,
        env=base_environment(),
        check=False,
    )
    assert done.returncode == 1
    assert "o space left on" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_generation_from_a_text_longer_than_the_model_takes(
    llmkit: Command, tiny: Callable[[str], Path]
) -> None:
    long = "the cat sat. " * 600
    arguments = ("pipeline", "text-generation", long, "-m", tiny("text-generation"), "-p", "max_new_tokens=3")
    done = llmkit(*arguments)
    assert done.code == 0, done.stderr
    assert "tokens" in done.stderr
    refused = llmkit(*arguments, "--long", "error")
    assert refused.code == 2
    assert "tokens" in refused.stderr


def test_generation_without_parameters(llmkit: Command, tiny: Callable[[str], Path]) -> None:
    """The default of 256 new tokens is more than this decoder has positions for."""
    assert llmkit("pipeline", "summarization", "the cat sat", "-m", tiny("seq2seq")).code == 0


def test_sentences_longer_than_the_model_takes_are_said(llmkit: Command) -> None:
    arguments = ("pipeline", "sentence-similarity", "the cat sat. " * 200, "the cat", "-m", "minilm")
    assert "are cut" in llmkit(*arguments).stderr
    assert llmkit(*arguments, "--long", "error").code == 2


def test_an_image_among_the_arguments_of_a_chat_task(
    llmkit: Command, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    cat = str(write_media(tmp_path)["cat"])
    model = tiny("image-text-to-text")
    options = ("-m", model, "-p", "max_new_tokens=3", "-p", "do_sample=false")
    by_place = llmkit("pipeline", "image-text-to-text", cat, "What is it?", *options)
    by_option = llmkit("pipeline", "image-text-to-text", "--image", cat, "What is it?", *options)
    assert by_place.code == 0, by_place.stderr
    assert by_place.stdout == by_option.stdout
    assert llmkit("pipeline", "image-text-to-text", cat, *options).code == 2


def test_arguments_of_the_loading(llmkit: Command, tiny: Callable[[str], Path]) -> None:
    model = tiny("text-classification")
    names = "id2label={0: bad, 1: so-so, 2: good}"
    done = llmkit("pipeline", "text-classification", "Paris", "-m", model, "--model-arg", names)
    assert done.lines[0]["label"] in {"bad", "so-so", "good"}, done.stderr
    half = llmkit(
        "pipeline", "text-classification", "Paris", "-m", model, "--model-arg", "torch_dtype=bfloat16"
    )
    assert (
        half.stdout
        == llmkit("pipeline", "text-classification", "Paris", "-m", model, "--dtype", "bfloat16").stdout
    )
    assert llmkit("pipeline", "ner", "x", "-m", model, "--model-arg", "trust_remote_code=true").code == 2


def test_a_rejected_argument_is_named(llmkit: Command, tiny: Callable[[str], Path]) -> None:
    done = llmkit("pipeline", "text-classification", "good", "", "fine", "-m", tiny("text-classification"))
    assert done.code == 3
    assert "argument:2: 'text' is empty" in done.stderr


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_on_standard_input(
    indent: int | None, llmkit: Command, tiny: Callable[[str], Path]
) -> None:
    rows = [{"text": "Paris"}, {"text": "the bank"}]
    model = tiny("text-classification")
    done = llmkit("pipeline", "text-classification", "-m", model, stdin=json.dumps(rows, indent=indent))
    assert done.code == 0, done.stderr
    assert len(done.lines) == 2


def test_the_output_may_not_replace_the_input(
    llmkit: Command, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "Paris"}\n')
    done = llmkit(
        "pipeline",
        "text-classification",
        "-m",
        tiny("text-classification"),
        "-i",
        file,
        "-o",
        file,
        "--overwrite",
    )
    assert done.code == 2
    assert file.read_text() == '{"text": "Paris"}\n'


def test_tensors_keep_their_shape_whatever_else_is_in_the_batch(llmkit: Command, tmp_path: Path) -> None:
    done = llmkit(
        "pipeline", "feature-extraction", "hi", "a much longer text here", "-m", "minilm",
        "-p", "return_tensors=true", "--output-dir", tmp_path,
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert all(isinstance(line, str) for line in done.lines)


def test_a_pair_of_languages_must_be_one(llmkit: Command) -> None:
    assert llmkit("pipeline", "translation_XX_to_YY", "hello").code == 2
