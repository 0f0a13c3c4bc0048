"""`llmkit attention` as a person and a script use it."""

from __future__ import annotations

import csv
import io
from contextlib import closing

import numpy
import pexpect
import pytest

from tests.insight.page_numbers import page_data, weights_of
from tests.insight.reading import opened

TEXT = "Your cat is a lovely cat"
MINILM = ("--model", "minilm")


@pytest.fixture(scope="module")
def minilm_weights():
    return opened("minilm").read(TEXT).kinds["encoder"].weights


def test_everything_as_json(llmkit, minilm_weights):
    done = llmkit("attention", TEXT, *MINILM)
    assert done.code == 0, done.stderr
    (found,) = done.lines
    assert (found["model"], found["text"], found["predictions"]) == ("minilm", TEXT, [])
    encoder = found["attention"]["encoder"]
    assert encoder["query_tokens"] == encoder["key_tokens"]
    assert encoder["query_tokens"][:3] == ["[CLS]", "your", "cat"]
    assert (encoder["layers"], encoder["heads"]) == ([1, 2, 3, 4, 5, 6], list(range(1, 13)))
    numpy.testing.assert_array_equal(numpy.array(encoder["weights"], dtype=numpy.float32), minilm_weights)


def test_files_hold_the_same(llmkit, tmp_path, minilm_weights):
    done = llmkit(
        "attention", TEXT, *MINILM, "-o", "w.npy", "--plot", "w.svg", "--html", "w.html", cwd=tmp_path
    )
    assert done.code == 0, done.stderr
    assert done.text == ""
    numpy.testing.assert_array_equal(numpy.load(tmp_path / "w.npy"), minilm_weights)
    assert "lovely" in (tmp_path / "w.svg").read_text()
    (kind,) = page_data((tmp_path / "w.html").read_text())["kinds"]
    numpy.testing.assert_allclose(weights_of(kind), minilm_weights, atol=2.5e-4)
    again = llmkit("attention", TEXT, *MINILM, "--plot", "w.svg", cwd=tmp_path)
    assert (again.code, "w.svg" in again.stderr) == (2, True)


def test_a_row_of_csv_is_a_weight(llmkit, minilm_weights):
    done = llmkit("attention", TEXT, *MINILM, "--layer", "-1", "--head", "mean", "-f", "csv")
    rows = list(csv.DictReader(io.StringIO(done.text)))
    assert len(rows) == 8 * 8
    assert rows[9] == {
        "which": "encoder", "layer": "6", "head": "mean", "query": "2", "query_token": "your", "key": "2",
        "key_token": "your", "weight": rows[9]["weight"],
    }  # fmt: skip
    assert float(rows[9]["weight"]) == pytest.approx(minilm_weights[5, :, 1, 1].mean(), rel=1e-6)


def test_a_picture_in_every_format(llmkit, tmp_path):
    done = llmkit(
        "attention", TEXT, *MINILM, "--plot", "w.png", "--head", "all", "--layer", "1,2", cwd=tmp_path
    )
    assert done.code == 0, done.stderr
    assert (tmp_path / "w.png").read_bytes().startswith(b"\x89PNG")


def test_on_a_terminal_rows_are_shaded_and_summed(llmkit):
    with closing(llmkit.on_terminal("attention", TEXT, *MINILM, env={"TERM": "xterm-256color"})) as terminal:
        terminal.expect("encoder attention, layer 6, mean over heads, bidirectional")
        terminal.expect(r"\x1b\[[0-9;]*48;[0-9;]*m")
        terminal.expect(r"1\.000")
        terminal.expect(pexpect.EOF)
    assert terminal.exitstatus == 0


def test_a_language_model_says_the_next_token(llmkit, tiny):
    done = llmkit("attention", "The quick brown", "-m", tiny("text-generation"), "-f", "table")
    assert "decoder attention, layer 2, mean over heads, causal" in done.text
    assert "Next token: " in done.text
    table = done.text.splitlines()
    assert sum(line.endswith("1.000") for line in table) == len(table) - table.index("") - 5


def test_encoder_and_decoder(llmkit, tiny):
    model = tiny("translation")
    done = llmkit("attention", "A cat.", "-m", model, "-f", "table")
    for title in (
        "encoder attention",
        "decoder attention",
        "cross attention, layer 2, mean over heads, from decoder",
    ):
        assert title in done.text
    one = llmkit("attention", "A cat.", "-m", model, "--which", "cross").lines[0]
    assert list(one["attention"]) == ["cross"]


def test_a_calculation(llmkit):
    done = llmkit(
        "attention", TEXT, *MINILM, "--explain", "cat", "--layer", "2", "--head", "3", "-f", "table"
    )
    assert "encoder attention as in BERT, layer 2, head 3, token #3 cat (minilm)" in done.text
    assert "The last line equals the model's own output of layer 2" in done.text
    assert "The token is there 2 times" in done.text
    found = llmkit("attention", TEXT, *MINILM, "--explain", "#7").lines[0]
    assert (found["position"], found["layer"], found["head"], found["token"]) == (6, 1, 1, "cat")
    assert found["largest_difference"] <= found["tolerance"]


def test_many_tokens_are_shades_with_their_sums(llmkit):
    done = llmkit("attention", "a cat and a dog " * 3, *MINILM, "-f", "table", env={"COLUMNS": "80"})
    table = done.text.splitlines()[2:]
    assert table[1].endswith("7    sum")  # the last digit of 17 tokens
    assert all(line.endswith("1.000") for line in table[2:19])
    assert max(map(len, table)) <= 80


def test_standard_input(llmkit):
    assert llmkit("attention", "-", *MINILM, "-f", "json", stdin="a cat\n").json["text"] == "a cat"


BAD = {
    "empty": ((" ",), "the text is empty"),
    "10,000 tokens": (("a " * 10_000,), "the text has 10,002 tokens, and minilm takes 512"),
    "layer": ((TEXT, "--layer", "7"), "--layer 7: minilm has no such layer."),
    "head": ((TEXT, "--head", "13"), "It has heads 1 to 12"),
    "token": ((TEXT, "--explain", "dog"), "--explain dog: no such token is there."),
    "which": ((TEXT, "--which", "crosss"), "did you mean cross?"),
    "which of an encoder": ((TEXT, "--which", "cross"), "minilm has only encoder attention"),
    "plot": ((TEXT, "--plot", "w.jpg"), "no picture goes by this ending"),
    "html": ((TEXT, "--html", "w.txt"), "Name it FILE.html"),
    "format": ((TEXT, "--format", "jsn"), "did you mean json?"),
    "array to a terminal": ((TEXT, "--format", "npy"), "--output weights.npy"),
    "array of steps": ((TEXT, "--explain", "cat", "-o", "w.npy"), "Use --format json"),
    "picture of steps": ((TEXT, "--explain", "cat", "--plot", "w.png"), "take one of them"),
    "dtype of steps": ((TEXT, "--explain", "cat", "--dtype", "bfloat16"), "leave out --dtype"),
    "a page as a picture": ((TEXT, "--html", "w.html", "--plot", "w.html"), "no picture goes by this ending"),
    "same file": (
        (TEXT, "-f", "json", "-o", "w.html", "--html", "./w.html"),
        "is the output.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case, llmkit, tmp_path):
    arguments, said = BAD[case]
    done = llmkit("attention", *arguments, *MINILM, cwd=tmp_path)
    assert said in done.stderr
    assert (done.code, done.text, list(tmp_path.iterdir())) == (2, "", [])
    assert "Traceback" not in done.stderr


def test_an_array_holds_one_kind(llmkit, tiny, tmp_path):
    done = llmkit("attention", "A cat.", "-m", tiny("translation"), "-o", "w.npy", cwd=tmp_path)
    assert (done.code, "--which cross" in done.stderr) == (2, True)
    done = llmkit(
        "attention", "A cat.", "-m", tiny("translation"), "-o", "w.npy", "--which", "cross", cwd=tmp_path
    )
    assert numpy.load(tmp_path / "w.npy").shape[:2] == (2, 2)


def test_what_is_no_utf8_is_named_by_its_place(llmkit):
    done = llmkit("attention", "-", *MINILM, stdin=b"a cat\nna\xefve")
    assert (done.code, done.text) == (2, "")
    assert "stdin: not UTF-8: byte 0xef at line 2, column 3" in done.stderr
    assert (
        llmkit("attention", "-", *MINILM, "-f", "json", stdin="a cat\n".encode("utf-16")).json["text"]
        == "a cat"
    )
