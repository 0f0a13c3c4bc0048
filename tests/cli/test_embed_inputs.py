"""`llmkit embed`: where texts come from, and what is said of a wrong call."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import numpy
import pytest

from tests.cli.embedded import BANK, TEXTS
from tests.fixtures.command import base_environment


def test_standard_input_gives_results_as_lines_come(bert):
    child = subprocess.Popen(
        [sys.executable, "-m", "llmkit", "embed", "-m", str(bert), "--quiet"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=base_environment(),
    )
    for text in ("first", "second"):
        child.stdin.write(f"{text}\n".encode())
        child.stdin.flush()
        assert json.loads(child.stdout.readline())["text"] == text
    child.stdin.close()
    assert child.wait(timeout=60) == 0


def test_a_closed_pipe_ends_quietly(bert):
    command = f"{sys.executable} -m llmkit embed -m {bert} -f jsonl -i - | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        input=("a good film\n" * 3000).encode(),
        capture_output=True,
        env=base_environment(),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["text"] == "a good film"


def test_a_full_disk(bert, llmkit):
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "llmkit", "embed", "a", "-m", str(bert), "-f", "jsonl"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=base_environment(),
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.decode().startswith("error: cannot write standard output")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--level", "tokn"], 2, "did you mean token?"),
        (["--pooling", "mena"], 2, "did you mean mean?"),
        (["--long", "truncat"], 2, "did you mean truncate?"),
        (["--format", "jsnl"], 2, "did you mean jsonl?"),
        (["--layers-merge", "avg"], 2, "There are: mean, sum, concat."),
        (["--layer", "last"], 2, "'last' is no layer"),
        (["--layer", "9"], 2, "there is no such layer"),
        (["--dim", "0"], 2, "it should be 1 or more"),
        (["--dim", "64"], 2, "have 32 numbers"),
        (["--max-length", "2"], 2, "adds 2 tokens"),
        (["--level", "word", "--pooling", "cls"], 2, "nothing is pooled"),
        (["--level", "token", "--word", "bank"], 2, "use one of them"),
        (["--pooling", "pooler", "--layer", "1"], 2, "leave --layer out"),
        (["--level", "token", "--long", "split-mean"], 2, "needs --level sentence"),
        (["--word", " "], 2, "--word is empty"),
        (["--word", "loan"], 2, "does not have the word 'loan'"),
        (["--output", "vectors.pth"], 2, "no format goes by this ending"),
        (["--output", "v.npy", "--keep-input"], 2, "a .npy file holds vectors alone"),
        (["--output", "v.safetensors", "--keep-input"], 2, "ride along in .parquet"),
        (["--split", "train"], 2, "--split needs --dataset"),
        (["--resume"], 2, "--resume"),
    ],
)
def test_a_wrong_call(llmkit, bert, arguments, code, says):
    done = llmkit("embed", BANK, "-m", bert, *arguments)
    assert (done.code, done.stdout) == (code, b""), done.stderr
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) <= 2
    assert says in done.stderr


def test_wrong_input(llmkit, bert, tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    assert "is empty" in llmkit("embed", "-i", empty, "-m", bert).stderr
    table = tmp_path / "a.csv"
    table.write_text("id,review\n1,good\n")
    done = llmkit("embed", "-i", table, "-m", bert)
    assert done.code == 2 and "no column 'text'" in done.stderr and "--column NAME" in done.stderr
    assert llmkit("embed", "-i", table, "-m", bert, "--column", "review").code == 0
    none = llmkit("embed", "-m", bert, "-i", tmp_path / "none.txt")
    assert none.code == 2 and "none.txt" in none.stderr
    terminal = llmkit.on_terminal("embed", "-m", bert)
    assert "llmkit embed 'He went to the bank.'" in terminal.read()
    terminal.close()


def test_a_dataset_in_a_folder(llmkit, bert, vectors, tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for split, some in (("train", TEXTS[:1]), ("test", TEXTS[1:])):
        (folder / f"{split}.jsonl").write_text("".join(f"{json.dumps({'text': text})}\n" for text in some))
    done = llmkit("embed", "--dataset", folder, "--split", "test", "-m", bert, "-f", "jsonl", "-q")
    assert [line["text"] for line in done.lines] == TEXTS[1:], done.stderr
    numpy.testing.assert_allclose([line["embedding"] for line in done.lines], vectors[1:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("task", ["image-classification", "automatic-speech-recognition"])
def test_a_model_that_does_not_read(llmkit, tiny, task):
    done = llmkit("embed", BANK, "-m", tiny(task))
    assert (done.code, done.stdout) == (1, b"")
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr


def test_a_short_name_says_what_it_stands_for(llmkit):
    done = llmkit("embed", BANK, "-m", "bert-base")
    assert done.code == 1
    assert "google-bert/bert-base-uncased" in done.stderr and "hf-llmkit[offline]" in done.stderr
    mistyped = llmkit("embed", BANK, "-m", "bert-bsae")
    assert mistyped.code == 1 and "Did you mean bert-base? " in mistyped.stderr
    assert "Did you mean" not in llmkit("embed", BANK, "-m", "acme/bert-bsae").stderr


@pytest.mark.parametrize("first", ['{"id": 1, "text": "a"}', '{"text": "a"}'])
def test_another_column_of_a_later_row_is_no_text(llmkit, bert, tmp_path, first):
    (tmp_path / "rows.jsonl").write_text(f'{first}\n{{"id": 2}}\n{{"body": "x"}}\n')
    done = llmkit("embed", "-m", bert, "-i", "rows.jsonl", "-f", "jsonl", cwd=tmp_path)
    assert done.code == 3
    assert [line["text"] for line in done.lines] == ["a"]


def test_a_column_called_row_does_not_hide_the_number_of_the_row(llmkit, bert, tmp_path):
    (tmp_path / "rows.csv").write_text("text,row\na b,99\nc,98\n")
    call = (
        "-i",
        "rows.csv",
        "--column",
        "text",
        "--keep-input",
        "--level",
        "token",
        "--dim",
        "1",
        "-f",
        "csv",
    )
    rows = list(csv.DictReader(llmkit("embed", "-m", bert, *call, cwd=tmp_path).text.splitlines()))
    assert {(row["row"], row["input_row"]) for row in rows} == {("0", "99"), ("1", "98")}
