"""`llmkit similarity` as a person and a script use it."""

from __future__ import annotations

import csv
import io
import json
from contextlib import closing

import pexpect
import pytest

from tests.cli.test_resume import kill_after

MONEY = "He went to the bank to deposit money."
LOAN = "The bank approved the loan."
RIVER = "She sat on the river bank and fished."
BANKS = (MONEY, LOAN, RIVER)
MINILM = ("--model", "minilm")
PAIRS = """id,sentence1,sentence2,score
1,A cat sleeps.,A kitten naps.,4
2,,Nothing.,0
3,Stocks fell.,A plane lands.,1
"""


def values(done):
    assert done.code == 0, done.stderr
    return [line["cosine"] for line in done.lines]


def test_two_texts(llmkit):
    done = llmkit("similarity", *MINILM, MONEY, LOAN)
    assert done.lines == [{"a": MONEY, "b": LOAN, "cosine": pytest.approx(0.5189, abs=1e-4)}]


def test_the_same_as_the_task_of_the_pipeline(llmkit):
    task = llmkit("pipeline", "sentence-similarity", *MINILM, *BANKS)
    matrix = llmkit("similarity", *MINILM, *BANKS, "--format", "json").json["matrix"]
    assert matrix[0][1:] == pytest.approx(task.json, abs=1e-5)


def test_a_word_in_each_text(llmkit):
    money_loan, money_river, loan_river = values(llmkit("similarity", *MINILM, "--word", "bank", *BANKS))
    assert money_loan > money_river
    assert money_loan > loan_river


def test_json_is_the_whole_matrix(llmkit):
    found = llmkit("similarity", *MINILM, "--word", "bank", *BANKS, "-f", "json").json
    assert found["texts"] == list(BANKS)
    assert [found["texts"][item["text"]][item["start"] : item["end"]] for item in found["items"]] == [
        "bank"
    ] * 3
    matrix = found["matrix"]
    assert [matrix[number][number] for number in range(3)] == pytest.approx([1, 1, 1], abs=1e-5)
    assert matrix[0][2] == matrix[2][0]


@pytest.mark.parametrize("measure", ["dot", "euclidean"])
def test_measures(measure, llmkit):
    done = llmkit("similarity", *MINILM, "--measure", measure, MONEY, LOAN, "-f", "json")
    assert done.json["measure"] == measure
    cosine, value = 0.5189, done.json["matrix"][0][1]
    # The model's vectors have length 1.
    assert value == pytest.approx(cosine if measure == "dot" else (2 - 2 * cosine) ** 0.5, abs=1e-3)
    if measure == "euclidean":
        assert done.json["matrix"][0][0] == 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (["A cat", "", "A dog"], "argument:2: 'text' is empty"),
        (["-i", "notes.csv", "--column", "note"], "notes.csv:3: 'note' is empty"),
    ],
)
def test_a_text_that_is_empty_is_named_as_it_was_given(call, said, llmkit, tmp_path):
    (tmp_path / "notes.csv").write_text('id,note\n1,A cat\n2,""\n3,A dog\n')
    done = llmkit("similarity", *MINILM, *call, cwd=tmp_path)
    assert (done.code, len(done.lines)) == (3, 1)
    assert said in done.stderr


def test_rejected_rows_of_a_matrix_are_kept_in_a_file(llmkit, tmp_path):
    (tmp_path / "notes.csv").write_text('id,note\n1,A cat\n2,""\n3,A dog\n')
    rows = ("-i", "notes.csv", "--column", "note")
    named = llmkit("similarity", *MINILM, *rows, "--rejects", "new/bad.jsonl", cwd=tmp_path)
    assert (named.code, len(named.lines)) == (3, 1)
    assert "1 of 3 rows were rejected; they are in new/bad.jsonl." in named.stderr
    rejected = {
        "source": "notes.csv",
        "line": 3,
        "reason": "'note' is empty",
        "input": {"id": "2", "note": ""},
    }
    assert json.loads((tmp_path / "new/bad.jsonl").read_text()) == rejected
    none = llmkit("similarity", *MINILM, "A cat", " ", "--rejects", "none.jsonl", cwd=tmp_path)
    assert none.code == 2
    assert "nothing to compare with" in none.stderr
    assert json.loads((tmp_path / "none.jsonl").read_text())["reason"] == "'text' is empty"
    (tmp_path / "bad.jsonl").write_text("{\n{\n")
    all_bad = llmkit("similarity", *MINILM, "-i", "bad.jsonl", "--rejects", "all.jsonl", cwd=tmp_path)
    assert all_bad.code == 2
    assert [json.loads(line)["line"] for line in (tmp_path / "all.jsonl").read_text().splitlines()] == [1, 2]
    beside = tmp_path / "out.csv.rejects.jsonl"
    assert llmkit("similarity", *MINILM, *rows, "-o", "out.csv", cwd=tmp_path).code == 3
    assert json.loads(beside.read_text()) == rejected
    own = ("-i", beside.name, "--column", "reason", "-o", "out.csv", "--overwrite")
    assert "is the input" in llmkit("similarity", *MINILM, *own, cwd=tmp_path).stderr
    assert json.loads(beside.read_text()) == rejected
    again = llmkit("similarity", *MINILM, "A cat", "A dog", "-o", "out.csv", "--overwrite", cwd=tmp_path)
    assert (again.code, beside.exists()) == (0, False)


def test_levels_compare_what_is_in_the_texts(llmkit):
    found = llmkit("similarity", *MINILM, "--level", "word", "A cat", "The cat sat", "-f", "json").json
    assert [item["label"] for item in found["items"]] == ["A", "cat", "The", "cat", "sat"]
    assert len(found["matrix"]) == 5
    lines = llmkit("similarity", *MINILM, "--level", "token", "A cat").lines
    assert [(line["a"], line["b"], line["a_text"]) for line in lines] == [("a", "cat", 0)]


def test_table_formats(llmkit):
    rows = list(csv.DictReader(io.StringIO(llmkit("similarity", *MINILM, *BANKS, "-f", "csv").text)))
    assert [row["text"] for row in rows] == list(BANKS)
    assert float(rows[0]["2"]) == pytest.approx(0.5189, abs=1e-4)
    markdown = llmkit("similarity", *MINILM, *BANKS, "-f", "markdown").text
    assert markdown.count("\n| ") == 4
    assert "0.519" in markdown


def test_on_a_terminal_there_is_a_picture(llmkit):
    with closing(
        llmkit.on_terminal("similarity", *MINILM, "--word", "bank", *BANKS, env={"NO_COLOR": "1"})
    ) as terminal:
        terminal.expect("cosine similarity")
        terminal.expect(r"\[bank\]")
        terminal.expect("Nearest: 1 and 2")
        terminal.expect("principal components")
        terminal.expect("└─")
        terminal.expect(pexpect.EOF)
    assert terminal.exitstatus == 0


@pytest.mark.parametrize(("ending", "beginning"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_a_picture_in_a_file(ending, beginning, llmkit, tmp_path):
    call = ("similarity", *MINILM, "--word", "bank", *BANKS, "--plot", f"bank.{ending}")
    assert llmkit(*call, cwd=tmp_path).code == 0
    content = (tmp_path / f"bank.{ending}").read_bytes()
    assert content.startswith(beginning)
    again = llmkit(*call, cwd=tmp_path)
    assert again.code == 2
    assert "--overwrite" in again.stderr
    assert llmkit(*call, "--overwrite", cwd=tmp_path).code == 0
    assert (tmp_path / f"bank.{ending}").read_bytes() == content, "the same bytes"


def test_labels_of_the_svg_are_text(llmkit, tmp_path):
    llmkit("similarity", *MINILM, "costs $5 and $6", "a & b", "c < d", "--plot", "p.svg", cwd=tmp_path)
    svg = (tmp_path / "p.svg").read_text()
    for label in ("costs $5 and $6", "a &amp; b", "c &lt; d"):
        assert label in svg


# Pairs


def test_pairs_from_a_file(llmkit, tmp_path):
    (tmp_path / "pairs.csv").write_text(PAIRS)
    done = llmkit("similarity", *MINILM, "-i", "pairs.csv", "--keep-input", "-o", "out.jsonl", cwd=tmp_path)
    assert done.code == 3
    assert "pairs.csv:3: 'sentence1' is empty" in done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["id"], row["score"]) for row in rows] == [("1", "4"), ("3", "1")]
    assert rows[0]["cosine"] > 0.6 > rows[1]["cosine"]
    rejected = json.loads((tmp_path / "out.jsonl.rejects.jsonl").read_text())
    assert rejected["line"] == 3


def test_pairs_are_what_the_matrix_says(llmkit, tmp_path):
    (tmp_path / "p.jsonl").write_text(json.dumps({"x": MONEY, "y": RIVER}) + "\n")
    for more in (
        [],
        ["--measure", "euclidean"],
        ["--word", "bank"],
        ["--layer", "-4:", "--layers-merge", "sum"],
    ):
        pair = llmkit("similarity", *MINILM, *more, "-i", "p.jsonl", "--map", "a=x,b=y", cwd=tmp_path).lines[
            0
        ]
        alone = llmkit("similarity", *MINILM, *more, MONEY, RIVER).lines[0]
        assert pair.keys() == alone.keys()
        measure = "euclidean" if "euclidean" in more else "cosine"
        assert pair[measure] == pytest.approx(alone[measure], abs=1e-4)


def test_pairs_from_a_pipe(llmkit):
    lines = "".join(json.dumps({"a": a, "b": b}) + "\n" for a, b in [(MONEY, LOAN), (MONEY, MONEY)])
    found = values(llmkit("similarity", *MINILM, stdin=lines))
    assert found == [pytest.approx(0.5189, abs=1e-4), pytest.approx(1, abs=1e-5)]


@pytest.mark.slow
def test_a_killed_run_of_pairs_goes_on(llmkit, tmp_path):
    rows = [f"text number {number} of many,text of {number % 7}" for number in range(700)]
    rows[100] = ",nothing"
    (tmp_path / "p.csv").write_text("a,b\n" + "\n".join(rows) + "\n")
    calls = {
        name: ("similarity", *MINILM, "-i", tmp_path / "p.csv", "-o", tmp_path / f"{name}.csv", "--quiet")
        for name in ("whole", "killed")
    }
    assert llmkit(*calls["whole"]).code == 3
    killed = kill_after(calls["killed"], 2)
    assert 0 < killed["rows"] < 700
    resumed = llmkit(*calls["killed"], "--resume")
    assert resumed.code == 3, resumed.stderr
    for ending in ("csv", "csv.rejects.jsonl"):
        assert (tmp_path / f"killed.{ending}").read_bytes() == (tmp_path / f"whole.{ending}").read_bytes()


# What is wrong is said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["one"], "nothing to compare it with"),
        (["a", "b", "--measure", "cosin"], "did you mean cosine"),
        (["a", "b", "--plot", "x.gif"], "x.gif"),
        (["a", "b", "--format", "parquet"], "--format parquet"),
        (["a", "b", "--resume"], "--resume is for pairs"),
        (["a", "b", "-o", "x.jsonl", "--rejects", "x.jsonl"], "--rejects x.jsonl is the output."),
        (["a", "b", "--rejects", "four.csv"], "four.csv is there already."),
        (["a", "b", "--plot", "x.png", "--rejects", "x/../x.png"], "--rejects x/../x.png is the picture."),
        (["-i", "bad.jsonl"], "bad.jsonl:1: not JSON"),
        (
            ["-i", "four.csv", "--column", "p", "--plot", "x.svg", "-o", "x.svg"],
            "--plot x.svg is the output.",
        ),
        (["a", "b", "--layer", "9"], "--layer 9"),
        (["-i", "four.csv"], "which columns of four.csv"),
        (["-i", "four.csv", "--map", "a=p,b=qq"], "did you mean q"),
        (["-i", "four.csv", "--map", "a=p,b=q", "--level", "token"], "--level token"),
        (["-i", "four.csv", "--map", "a=p,b=q", "--plot", "x.png"], "--plot"),
        (["-i", "missing.csv"], "missing.csv"),
        ([*BANKS, "--word", "zebra"], "'zebra'"),
    ],
)
def test_bad_calls(arguments, said, llmkit, tmp_path):
    (tmp_path / "four.csv").write_text("id,p,q\n1,x,y\n")
    (tmp_path / "bad.jsonl").write_text("{\n{\n")
    done = llmkit("similarity", *MINILM, *arguments, cwd=tmp_path)
    assert done.code == 2, done.stderr
    assert said in done.stderr
    assert done.text == ""


def test_a_text_without_the_word_is_rejected(llmkit):
    done = llmkit("similarity", *MINILM, "--word", "bank", *BANKS, "No such thing.", "-f", "json")
    assert done.code == 3
    assert "argument:4: the text does not have the word 'bank'" in done.stderr
    assert done.json["texts"] == list(BANKS)


def test_lines_of_a_file_are_compared_with_each_other(llmkit, tmp_path):
    (tmp_path / "t.txt").write_text("\n".join(BANKS))
    (tmp_path / "t.csv").write_text("n,say\n1,cat\n2,dog\n")
    assert llmkit("similarity", *MINILM, "-i", "t.txt", "-f", "json", cwd=tmp_path).json["texts"] == list(
        BANKS
    )
    done = llmkit("similarity", *MINILM, "-i", "t.csv", "--column", "say", cwd=tmp_path)
    assert [(line["a"], line["b"]) for line in done.lines] == [("cat", "dog")]
