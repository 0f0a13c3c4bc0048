"""A file run that is killed, and gone on with, ends with the bytes of one that was not."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.fixtures.command import TIMEOUT, base_environment

ROWS = 700  # windows of 64, 128, 256 and the rest
WORDS = ["the", "film", "was", "good", "bad", "long", "short", "loved", "hated", "it", "we", "they", "but"]
OUTPUTS = ("jsonl", "json", "csv", "parquet")


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A csv and a jsonl file of the same rows, some of them bad."""
    folder = tmp_path_factory.mktemp("texts")
    chance = random.Random(3)
    rows = [" ".join(chance.choices(WORDS, k=chance.randint(2, 30))) for _ in range(ROWS)]
    for number in range(5, ROWS, 90):
        rows[number] = ""
    with (folder / "texts.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        for number, text in enumerate(rows):
            writer.writerow([number, text, "one too many"] if number % 101 == 50 else [number, text])
    lines = [json.dumps({"id": number, "text": text}) for number, text in enumerate(rows)]
    lines[77] = '{"id": 77, "text": oops}'
    lines[430] = "[]"
    (folder / "texts.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def classify(texts, kind, model, out):
    return [
        *("pipeline", "text-classification", "-i", texts / f"texts.{kind}", "-m", model, "-o", out),
        *("--keep-input", "-p", "top_k=2", "--quiet"),
    ]


def kill_after(call, windows):
    """Start the command in a process of its own and kill it once it has finished so many windows."""
    out = Path(call[call.index("-o") + 1])
    progress = out.with_name(f"{out.name}.progress")
    child = subprocess.Popen(
        [sys.executable, "-m", "llmkit", *map(str, call)],
        env=base_environment(),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    overdue = threading.Timer(TIMEOUT, child.kill)
    overdue.start()
    seen = set()
    while len(seen) < windows and child.poll() is None:
        time.sleep(0.002)
        if progress.exists():
            seen.add(os.stat(progress).st_ino)  # noqa: PTH116 - replaced after each window
    child.send_signal(signal.SIGKILL)
    child.wait()
    overdue.cancel()
    assert child.returncode == -signal.SIGKILL, "it ended before it was killed"
    return json.loads(progress.read_text())


def files_of(out):
    """The contents of an output and of what lies beside it, by the ending of its name."""
    return {
        path.name.removeprefix(out.stem): path.read_bytes()
        for path in out.parent.iterdir()
        if path.name.startswith(f"{out.stem}.")
    }


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("jsonl", "jsonl"),
        *(pytest.param("csv", form, marks=pytest.mark.slow) for form in OUTPUTS),
    ],
)
def test_a_killed_run_ends_with_the_same_bytes(llmkit, tiny, texts, tmp_path, kind, form):
    model = tiny("text-classification")
    whole, killed = tmp_path / f"whole.{form}", tmp_path / f"killed.{form}"
    uninterrupted = llmkit(*classify(texts, kind, model, whole))
    assert uninterrupted.code == 3
    call = classify(texts, kind, model, killed)
    done = kill_after(call, 2 if form == "jsonl" else 1)
    assert 0 < done["rows"] < ROWS
    assert not killed.exists()
    # What a killed process had written beyond its last word is not trusted.
    with killed.with_name(f"{killed.name}.partial").open("ab") as partial:
        partial.write(b'{"half a li')
    resumed = llmkit(*call, "--resume")
    assert resumed.code == 3, resumed.stderr
    summary = resumed.stderr.splitlines()[-1].replace(str(killed), str(whole))
    assert summary == uninterrupted.stderr.splitlines()[-1]
    assert files_of(killed) == files_of(whole)
    assert set(files_of(killed)) == {f".{form}", f".{form}.rejects.jsonl"}


@pytest.mark.slow
def test_a_run_may_be_killed_again_and_again(llmkit, tiny, texts, tmp_path):
    model = tiny("text-classification")
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    llmkit(*classify(texts, "jsonl", model, whole))
    call = classify(texts, "jsonl", model, killed)
    first = kill_after(call, 1)
    second = kill_after([*call, "--resume"], 2)  # the first is the one that was there
    assert first["rows"] < second["rows"] < ROWS
    assert llmkit(*call, "--resume").code == 3
    assert files_of(killed) == files_of(whole)


def test_sampling_goes_on_with_the_same_numbers(llmkit, tiny, tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("".join(f"the film {WORDS[number % 12]} {number}\n" for number in range(150)))
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    call = [
        *("pipeline", "text-generation", "-i", file, "-m", tiny("text-generation"), "--seed", "1", "--quiet"),
        *("-p", "do_sample=true", "-p", "max_new_tokens=12", "-o"),
    ]
    assert llmkit(*call, whole).code == 0
    done = kill_after([*call, killed], 1)
    assert done["rows"] == 64
    assert llmkit(*call, killed, "--resume").code == 0
    assert killed.read_bytes() == whole.read_bytes()
    other_seed = [word if word != "1" else "2" for word in map(str, call)]
    assert llmkit(*other_seed, tmp_path / "other.jsonl").code == 0
    assert (tmp_path / "other.jsonl").read_bytes() != whole.read_bytes()


@pytest.fixture
def unfinished(tiny, texts, tmp_path):
    """The call of a run that was killed after its first window; its output is the last word."""
    call = classify(texts, "jsonl", tiny("text-classification"), tmp_path / "out.jsonl")
    kill_after(call, 1)
    return call


def test_only_the_same_call_is_resumed(llmkit, tiny, texts, unfinished, tmp_path):
    before = files_of(tmp_path / "out.jsonl")
    call = [*unfinished, "--resume"]
    for changed, difference in (
        ([*call, "-p", "top_k=1"], "parameters was {'top_k': 2}, is {'top_k': 1}"),
        ([*call, "--max-length", "16"], "max_length was None, is 16"),
        ([*call, "--input-format", "jsonl"], "input_format was None, is 'jsonl'"),
        ([*call, "-m", tiny("long_limit")], "model was"),
        ([*call, "-i", texts / "texts.csv"], "input was"),
    ):
        done = llmkit(*changed)
        assert done.code == 2, done.stderr
        assert done.stderr.startswith(f"error: cannot resume {tmp_path / 'out.jsonl'}: ")
        assert difference in done.stderr
        assert len(done.stderr.splitlines()) == 2
    assert files_of(tmp_path / "out.jsonl") == before


def test_a_changed_file_or_model_is_not_resumed(llmkit, tiny, tmp_path):
    file, model, out = tmp_path / "a.txt", tmp_path / "model", tmp_path / "out.jsonl"
    file.write_text("a good film\n" * 300)
    model.mkdir()
    for path in tiny("text-classification").iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    call = ["pipeline", "text-classification", "-i", file, "-m", model, "-o", out]
    kill_after(call, 1)
    os.utime(model / "model.safetensors", (1, 1))
    done = llmkit(*call, "--resume")
    assert (done.code, "weights was" in done.stderr) == (2, True)
    file.write_text("a bad film\n" * 300)
    done = llmkit(*call, "--resume")
    assert (done.code, "input was" in done.stderr) == (2, True)
    assert llmkit(*call, "--overwrite").code == 0
    assert len(out.read_text().splitlines()) == 300


def test_an_unfinished_run_is_not_begun_anew_by_itself(llmkit, unfinished, tmp_path):
    done = llmkit(*unfinished)
    assert done.code == 2
    assert done.stderr.splitlines() == [
        f"error: an unfinished run of {tmp_path / 'out.jsonl'} is there.",
        "Add --resume to go on with it, or --overwrite to begin anew.",
    ]
    assert llmkit(*unfinished, "--overwrite").code == 3
    assert set(files_of(tmp_path / "out.jsonl")) == {".jsonl", ".jsonl.rejects.jsonl"}


def test_damaged_progress_is_told(llmkit, unfinished, tmp_path):
    progress = tmp_path / "out.jsonl.progress"
    for content in ("{}", "[1]", "{", '{"call": {}, "rows": -1}', '{"call": {}, "more": 1}'):
        progress.write_text(content)
        done = llmkit(*unfinished, "--resume")
        assert done.code == 1
        assert done.stderr == (
            f"error: {progress} cannot be read: it is damaged.\nAdd --overwrite to begin anew.\n"
        )
    progress.unlink()
    progress.mkdir()
    done = llmkit(*unfinished, "--resume")
    assert (done.code, done.stderr) == (
        1,
        f"error: {progress} is a folder.\nRemove it, or name another output.\n",
    )


def test_resuming_what_is_finished_changes_nothing(llmkit, tiny, tmp_path):
    file, out = tmp_path / "a.txt", tmp_path / "out.jsonl"
    file.write_text("good\nbad\n")
    call = ("pipeline", "text-classification", "-i", file, "-m", tiny("text-classification"), "-o", out)
    assert llmkit(*call, "--resume").code == 0  # nothing there yet: it begins
    before = out.stat()
    done = llmkit(*call, "--resume")
    assert (done.code, done.stdout, done.stderr) == (0, b"", f"{out} is finished already.\n")
    assert (out.stat().st_mtime_ns, out.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert llmkit(*call, "--resume", "--quiet").stderr == ""


def test_a_run_that_begins_anew_is_not_resumed_at_the_place_of_the_old_one(llmkit, unfinished, tmp_path):
    """Killed before its first window, a new run leaves nothing that speaks of the old one's rows."""
    failing = [word if word != "top_k=2" else "function_to_apply=what" for word in map(str, unfinished)]
    assert llmkit(*failing, "--overwrite").code == 2
    assert files_of(tmp_path / "out.jsonl") == {}
    assert llmkit(*unfinished, "--resume").code == 3
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) > 600


@pytest.mark.parametrize(
    "call",
    [
        ("pipeline", "text-classification", "x", "-o", "out.jsonl"),
        ("embed", "x", "-o", "out.npy"),
        ("tokenize", "x", "-o", "out.jsonl"),
        ("similarity", "-i", "pairs.csv", "-o", "out.jsonl"),
    ],
    ids=lambda call: call[0],
)
def test_a_run_is_gone_on_with_or_replaced(llmkit, call, tmp_path):
    (tmp_path / "pairs.csv").write_text("text1,text2\na,b\n")
    (tmp_path / call[-1]).write_text("kept")
    done = llmkit(*call, "--resume", "--overwrite", cwd=tmp_path)
    assert (done.code, done.text) == (2, "")
    assert "--resume goes on with a run, and --overwrite replaces it" in done.stderr
    assert (tmp_path / call[-1]).read_text() == "kept"
