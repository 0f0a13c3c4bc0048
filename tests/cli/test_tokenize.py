"""`llmkit tokenize` as a person and a script use it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from contextlib import closing

import pexpect
import pytest
from transformers import AutoTokenizer

from tests.fixtures.command import base_environment

MINILM = ("--model", "minilm")


def test_one_text(llmkit):
    found = llmkit("tokenize", *MINILM, "unbelievably good", "-f", "json").json
    assert found == {
        "text": "unbelievably good",
        "tokens": ["[CLS]", "un", "##bel", "##ie", "##va", "##bly", "good", "[SEP]"],
        "ids": [101, 4895, 8671, 2666, 3567, 6321, 2204, 102],
        "offsets": [[0, 0], [0, 2], [2, 5], [5, 7], [7, 9], [9, 12], [13, 17], [0, 0]],
        "special": [True, False, False, False, False, False, False, True],
        "token_count": 8,
    }
    bare = llmkit("tokenize", *MINILM, "unbelievably good", "--no-special").lines[0]
    assert bare["tokens"] == found["tokens"][1:-1]


def test_the_tokens_are_those_of_embed(llmkit):
    text = "Zürich, naïve café 😀!"
    tokens = llmkit("tokenize", *MINILM, text).lines[0]
    vectors = llmkit("embed", *MINILM, "--level", "token", text).lines[0]
    assert {key: vectors[key] for key in tokens} == tokens


@pytest.mark.parametrize("name", ["fill-mask", "text-generation", "translation", "summarization"])
def test_every_kind_of_tokenizer(name, llmkit, tiny):
    model = tiny(name)
    texts = ["The film was good.", "naïve café 😀"]
    expected = AutoTokenizer.from_pretrained(model)(texts)["input_ids"]
    done = llmkit("tokenize", "-m", model, *texts)
    assert done.code == 0, done.stderr
    assert [line["ids"] for line in done.lines] == expected


def test_several_models_side_by_side(llmkit, tiny):
    model = str(tiny("text-generation"))
    found = llmkit("tokenize", *MINILM, "-m", model, "a cat").lines[0]
    assert [each["model"] for each in found["models"]] == ["minilm", model]
    assert found["models"][0]["tokens"] == ["[CLS]", "a", "cat", "[SEP]"]
    rows = list(
        csv.DictReader(io.StringIO(llmkit("tokenize", *MINILM, "-m", model, "a cat", "-f", "csv").text))
    )
    assert [row["token"] for row in rows if row["model"] == "minilm"] == ["[CLS]", "a", "cat", "[SEP]"]
    with closing(
        llmkit.on_terminal("tokenize", *MINILM, "-m", "minilm", "a cat", env={"NO_COLOR": "1"})
    ) as terminal:
        terminal.expect("minilm +minilm")
        terminal.expect(r"cat 4937 +cat 4937")
        terminal.expect("4 tokens +4 tokens")
        terminal.expect(pexpect.EOF)
    assert terminal.exitstatus == 0


def test_a_file_row_by_row(llmkit, tmp_path):
    (tmp_path / "t.csv").write_text("id,text\n1,a cat\n2,\n3,a dog\n")
    done = llmkit("tokenize", *MINILM, "-i", "t.csv", "--keep-input", cwd=tmp_path)
    assert done.code == 3
    assert [(line["id"], line["token_count"]) for line in done.lines] == [("1", 4), ("3", 4)]
    done = llmkit("tokenize", *MINILM, "-i", "t.csv", "-o", "t.parquet", cwd=tmp_path)
    assert done.code == 3
    assert json.loads((tmp_path / "t.parquet.rejects.jsonl").read_text())["line"] == 3


def test_a_stream(llmkit):
    assert [line["text"] for line in llmkit("tokenize", *MINILM, stdin="a cat\na dog\n").lines] == [
        "a cat",
        "a dog",
    ]


def test_counts_of_a_file(llmkit, tmp_path):
    (tmp_path / "t.txt").write_text("a cat\n" * 3 + "word " * 300 + "\n")
    done = llmkit("tokenize", *MINILM, "-i", "t.txt", "--count", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert done.lines == [
        {
            "model": "minilm",
            "rows": 4,
            "tokens": 314,
            "mean": 78.5,
            "median": 4,
            "p95": 302,
            "max": 302,
            "limit": 256,
            "longer": 1,
            "share_longer": 0.25,
        }
    ]
    with closing(
        llmkit.on_terminal("tokenize", *MINILM, "-i", tmp_path / "t.txt", "--count", env={"NO_COLOR": "1"})
    ) as terminal:
        terminal.expect(r"minilm +4 +314 +78\.5 +4 +302 +302 +256 +1 \(25\.0%\)")
        terminal.expect(pexpect.EOF)


def test_bad_rows_are_named_in_a_count_too(llmkit, tmp_path):
    (tmp_path / "t.txt").write_text("a cat\n\na dog\n")
    done = llmkit("tokenize", *MINILM, "-i", "t.txt", "--count", cwd=tmp_path)
    assert done.code == 3
    assert done.lines[0]["rows"] == 2
    assert "t.txt:2: 'text' is empty" in done.stderr
    into_file = llmkit("tokenize", *MINILM, "-i", "t.txt", "--count", "-o", "c.csv", cwd=tmp_path)
    assert into_file.code == 3
    assert into_file.stderr.splitlines()[-1] == "warning: 1 of 3 rows were rejected."


def test_torch_is_not_imported():
    code = (
        "import sys, llmkit.cli.main as m\n"
        "sys.argv = ['llmkit', 'tokenize', '-m', 'minilm', 'a cat']\n"
        "try:\n    m.main()\n"
        "except SystemExit as stop:\n    print(stop.code or 0, sys.modules.get('torch'), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=base_environment(), check=True
    )
    assert json.loads(done.stdout)["ids"] == [101, 1037, 4937, 102]
    assert done.stderr == "0 None\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "empty"),
        (["x", "-m", "nowhere/nothing"], 1, "nowhere/nothing"),
        (["x", *MINILM, "--format", "xml"], 2, "--format xml"),
        (["x", *MINILM, "--format", "parquet"], 2, "needs a file"),
        (["x", *MINILM, "--count", "--keep-input"], 2, "--keep-input"),
        (["-i", "missing.txt", *MINILM], 2, "missing.txt"),
        ([" ", *MINILM], 2, "'text' is empty"),
    ],
)
def test_bad_calls(arguments, code, said, llmkit):
    done = llmkit("tokenize", *arguments)
    assert done.code == code, done.stderr
    assert said in done.stderr
    assert done.text == ""


def test_a_model_without_a_tokenizer(llmkit, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    done = llmkit("tokenize", "x", "-m", tmp_path)
    assert done.code == 1
    assert "tokenizer" in done.stderr
