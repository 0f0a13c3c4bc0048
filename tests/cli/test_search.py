"""`llmkit search` as a person and a script use it."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from contextlib import closing
from pathlib import Path

import numpy
import pexpect
import pytest

TEXTS = [
    "He opened a savings account.",
    "The river was full of fish.",
    "",
    "The bank approved the loan.",
    "A cat sleeps on the mat.",
]
MINILM = ("--model", "minilm")
VECTORS = ("npy", "safetensors", "parquet", "jsonl", "csv")


@pytest.fixture(scope="module")
def folder(llmkit, tmp_path_factory):
    """The texts as a file, and their vectors in every format."""
    place = tmp_path_factory.mktemp("search")
    (place / "texts.txt").write_text("\n".join(TEXTS) + "\n")
    whole = [text for text in TEXTS if text]
    rows = "".join(f"{number},{text},x{number}\n" for number, text in enumerate(whole))
    (place / "texts.csv").write_text("id,body,tag\n" + rows)
    (place / "whole.txt").write_text("\n".join(whole))
    for ending in VECTORS:
        done = llmkit("embed", *MINILM, "-i", "whole.txt", "-o", f"v.{ending}", cwd=place)
        assert done.code == 0, done.stderr
    return place


@pytest.fixture
def search(llmkit, folder, tmp_path):
    """Run a search in the folder, with a cache of its own."""

    def run(*arguments, **more):
        # With a cache of its own it would compile its own code in each test.
        env = {"LLMKIT_CACHE": str(tmp_path / "cache"), "LLMKIT_NATIVE": "0", **more.pop("env", {})}
        return llmkit("search", *arguments, cwd=folder, env=env, **more)

    return run


def test_among_texts(search):
    done = search("money", "--in", "texts.txt", *MINILM, "-k", "2")
    assert done.code == 0, done.stderr
    first, second = done.lines
    assert first == {
        "query": "money",
        "rank": 1,
        "score": pytest.approx(0.3222, abs=1e-3),
        "row": 0,
        "text": TEXTS[0],
    }
    assert (second["rank"], second["row"], second["text"]) == (2, 3, TEXTS[3])
    assert "1 of 5 rows were skipped" in done.stderr


def test_texts_are_embedded_once(search, tmp_path):
    first = search("money", "--in", "texts.txt", *MINILM)
    assert "are kept in" in first.stderr
    kept = list((tmp_path / "cache" / "search").glob("*.npy"))
    assert [numpy.load(path).shape for path in kept] == [(5, 384)]
    second = search("money", "--in", "texts.txt", *MINILM)
    assert "kept from before" in second.stderr
    assert second.stdout == first.stdout
    # Other settings are other vectors.
    search("money", "--in", "texts.txt", *MINILM, "--pooling", "max")
    assert len(list((tmp_path / "cache" / "search").glob("*.npy"))) == 2


def test_a_file_that_changed_is_embedded_anew(search, folder):
    path = folder / "changing.txt"
    path.write_text("A dog barks.\n")
    assert search("a pet", "--in", path, *MINILM).lines[0]["text"] == "A dog barks."
    path.write_text("A cat purrs.\nStocks fell.\n")
    assert search("a pet", "--in", path, *MINILM).lines[0]["text"] == "A cat purrs."


@pytest.mark.parametrize("ending", VECTORS)
def test_among_vectors(ending, search):
    more = ["--texts", "whole.txt"] if ending in ("npy", "safetensors") else []
    model = [] if ending in ("safetensors", "parquet") else MINILM
    done = search("a pet", "--in", f"v.{ending}", *more, *model, "-k", "1")
    assert done.code == 0, done.stderr
    assert done.lines == [
        {"query": "a pet", "rank": 1, "score": pytest.approx(0.2566, abs=0.2), "row": 3, "text": TEXTS[4]}
    ]


def test_the_score_is_that_of_similarity(search, llmkit):
    (pair,) = llmkit("similarity", *MINILM, "a pet", TEXTS[4]).lines
    assert search("a pet", "--in", "v.npy", *MINILM, "-k", "1").lines[0]["score"] == pytest.approx(
        pair["cosine"], abs=1e-5
    )


@pytest.mark.parametrize("measure", ["dot", "euclidean"])
def test_measures(measure, search):
    cosine = search("a pet", "--in", "v.npy", *MINILM).lines
    other = search("a pet", "--in", "v.npy", *MINILM, "--measure", measure).lines
    # The vectors have length 1: the order is the same.
    assert [hit["row"] for hit in other] == [hit["row"] for hit in cosine]
    expected = cosine[0]["score"] if measure == "dot" else (2 - 2 * cosine[0]["score"]) ** 0.5
    assert other[0]["score"] == pytest.approx(expected, abs=1e-4)


def test_min_score(search):
    every = search("a pet", "--in", "v.npy", *MINILM).lines
    least = (every[0]["score"] + every[1]["score"]) / 2
    assert search("a pet", "--in", "v.npy", *MINILM, "--min-score", str(least)).lines == every[:1]
    nothing = search("a pet", "--in", "v.npy", *MINILM, "--min-score", "0.99")
    assert (nothing.code, nothing.text) == (0, "")
    assert nothing.stderr == "1 query found nothing within --min-score.\n"
    refused = search("a pet", "--in", "v.npy", *MINILM, "--min-score", "nan")
    assert (refused.code, refused.text) == (2, "")


def test_columns_ride_along(search):
    done = search("money", "--in", "texts.csv", "--column", "body", *MINILM, "-k", "1", "--keep-input")
    assert done.lines[0]["text"] == TEXTS[0]
    assert (done.lines[0]["id"], done.lines[0]["tag"]) == ("0", "x0")


def test_columns_that_are_no_json_ride_along_as_text(search, folder):
    import datetime
    import decimal

    import pyarrow.parquet

    columns = {
        "body": ["money", "a pet"],
        "day": [datetime.date(2020, 1, 2)] * 2,
        "price": [decimal.Decimal("1.5")] * 2,
        "share": [float("nan"), 1.0],
        "rank": [7, 8],
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "dated.parquet")
    call = ("money", "--in", "dated.parquet", "--column", "body", *MINILM, "-k", "1", "--keep-input")
    found = search(*call).lines[0]
    assert (found["day"], found["price"], found["share"], found["input_rank"]) == (
        "2020-01-02",
        "1.5",
        None,
        7,
    )


def test_rows_without_a_text_are_named_and_skipped(search, folder):
    (folder / "gaps.jsonl").write_text('{"text": "money"}\n{"text": null}\n{"text": "a pet"}\n')
    done = search("money", "--in", "gaps.jsonl", *MINILM)
    assert [hit["row"] for hit in done.lines] == [0, 2]
    assert "warning: rejected: gaps.jsonl:2: no value for 'text'" in done.stderr
    assert "1 of 3 rows were skipped" in done.stderr


def test_several_queries(search, folder):
    (folder / "queries.txt").write_text("money\na pet\n")
    from_file = search("--queries", "queries.txt", "--in", "v.parquet", "-k", "1")
    from_stdin = search("--in", "v.parquet", "-k", "1", stdin="money\na pet\n")
    from_arguments = search("money", "a pet", "--in", "v.parquet", "-k", "1")
    assert from_file.lines == from_stdin.lines == from_arguments.lines
    assert [(hit["query"], hit["row"]) for hit in from_file.lines] == [("money", 0), ("a pet", 3)]


def test_queries_in_several_files(search, folder):
    (folder / "part0.txt").write_text("money\n")
    (folder / "part1.txt").write_text("a pet\n")
    done = search("--queries", "part*.txt", "--in", "v.parquet", "-k", "1")
    assert [(hit["query"], hit["row"]) for hit in done.lines] == [("money", 0), ("a pet", 3)]


def test_a_query_that_is_too_long_does_not_stop_the_others(search):
    done = search(
        "--in", "v.npy", *MINILM, "-k", "1", "--long", "error", stdin=f"money\n{'word ' * 600}\nfish\n"
    )
    assert done.code == 3
    assert [line["query"] for line in done.lines] == ["money", "fish"]
    assert "rejected: stdin:2: " in done.stderr


def test_what_is_kept_is_of_the_file_of_weights_that_is_named(search, tmp_path):
    import safetensors.torch

    from llmkit.models.embedded import embedded_folder

    model = tmp_path / "model"
    shutil.copytree(embedded_folder(), model)
    weights = safetensors.torch.load_file(model / "model.safetensors")
    other = {name: tensor if "embeddings" in name else tensor.roll(1, 0) for name, tensor in weights.items()}
    (model / "model.safetensors").rename(model / "one.safetensors")
    safetensors.torch.save_file(other, model / "two.safetensors", {"format": "pt"})
    call = ("money", "--in", "whole.txt", "-k", "1")

    first, second = (search(*call, "-m", model / f"{name}.safetensors") for name in ("one", "two"))

    assert (first.code, second.code) == (0, 0), second.stderr
    assert "kept from before" not in second.stderr
    assert first.lines[0]["score"] != second.lines[0]["score"]
    assert "kept from before" in search(*call, "-m", model / "one.safetensors").stderr


def test_a_pipe_of_texts_is_refused(search, tmp_path):
    os.mkfifo(tmp_path / "texts")
    done = search("money", "--in", tmp_path / "texts", *MINILM)
    assert done.code == 2
    assert f"--in {tmp_path / 'texts'} is a pipe, and its rows are read twice." in done.stderr


def test_formats(search, folder):
    rows = list(csv.DictReader(io.StringIO(search("money", "--in", "v.parquet", "-f", "csv").text)))
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    assert len(search("money", "--in", "v.parquet", "-f", "json").json) == 4
    assert search("money", "--in", "v.parquet", "-o", "found.parquet", "--overwrite").code == 0
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(folder / "found.parquet").column("row").to_pylist()[0] == 0


def test_on_a_terminal(llmkit, folder):
    with closing(
        llmkit.on_terminal("search", "money", "--in", folder / "v.parquet", "-k", "1", env={"NO_COLOR": "1"})
    ) as terminal:
        terminal.expect("money")
        terminal.expect("rank +score +row +text")
        terminal.expect(r"1 +0\.3\d+ +0 +He opened")
        terminal.expect(pexpect.EOF)
    assert terminal.exitstatus == 0


def test_the_model_s_own_prompts(search, folder, llmkit, tmp_path):
    """A query and a text have a prompt of their own; vectors made with the text's prompt are the same."""
    from llmkit.models.embedded import embedded_folder

    model = tmp_path / "model"
    shutil.copytree(embedded_folder(), model)
    config = {"prompts": {"query": "search: ", "document": "text: "}}
    (model / "config_sentence_transformers.json").write_text(json.dumps(config))
    own = search("money", "--in", "whole.txt", "-m", model, "-k", "1").lines[0]["score"]
    (pair,) = llmkit("similarity", *MINILM, "search: money", f"text: {TEXTS[0]}").lines
    assert own == pytest.approx(pair["cosine"], abs=1e-5)
    said = search("money", "--in", "whole.txt", "-m", model, "-k", "1", "--query-prefix", "", "--prompt", "")
    assert said.lines[0]["score"] == pytest.approx(0.3222, abs=1e-3)


def test_vectors_of_a_word(search, llmkit, folder):
    done = llmkit(
        "embed",
        *MINILM,
        "--word",
        "bank",
        "a river bank",
        "a bank loan",
        "-o",
        "w.parquet",
        "--overwrite",
        cwd=folder,
    )
    assert done.code == 0, done.stderr
    found = search("the bank of the stream", "--in", "w.parquet")
    assert [hit["text"] for hit in found.lines] == ["a river bank", "a bank loan"]


def test_rows_that_are_no_numbers_are_skipped(search, folder):
    vectors = numpy.load(folder / "v.npy")
    vectors[0] = numpy.nan
    numpy.save(folder / "nan.npy", vectors)
    done = search("money", "--in", "nan.npy", *MINILM)
    assert done.lines[0]["row"] == 2
    assert "1 of 4 rows were skipped" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["money"], "--in is needed"),
        (["money", "--in", "missing.npy"], "no file missing.npy"),
        (["--in", "v.npy"], "empty"),
        (["", "--in", "v.npy"], "the query is empty"),
        (["money", "--queries", "whole.txt", "--in", "v.npy"], "given twice"),
        (["money", "--in", "v.npy", "-k", "0"], "--top-k 0"),
        (["money", "--in", "v.npy", "--measure", "cosin"], "did you mean cosine"),
        (["money", "--in", "v.npy", *MINILM, "--dim", "10"], "have 384 numbers, and those of minilm 10"),
        (["money", "--in", "v.parquet", "--pooling", "max"], "--pooling max: v.parquet was made with"),
        (["money", "--in", "v.parquet", "--dim", "12"], "--dim 12"),
        (["money", "--in", "v.parquet", "--column", "txt"], "no column 'txt'"),
        (["money", "--in", "texts.csv", "--column", "bdy", *MINILM], "did you mean body"),
        (
            ["money", "--in", "v.npy", "--texts", "queries-short.txt", *MINILM],
            "--texts has fewer rows than v.npy",
        ),
        (["money", "--in", "whole.txt", "--texts", "whole.txt", *MINILM], "--texts is for vectors"),
        (["money", "--in", "tokens.npy", *MINILM], "not a vector a row"),
        (["money", "--in", "empty.npy", *MINILM], "empty.npy has no vectors"),
        (["money", "--in", "none.npy", *MINILM], "no row of none.npy has a vector of finite numbers"),
        (
            ["money", "--in", "v.parquet", "--vector-column", "vec"],
            "v.parquet has no column 'vec' of vectors",
        ),
        (["money", "--in", "-"], "--in -"),
    ],
)
def test_bad_calls(arguments, said, search, folder):
    (folder / "queries-short.txt").write_text("one\n")
    numpy.save(folder / "tokens.npy", numpy.zeros((1, 2, 384), numpy.float32))
    numpy.save(folder / "empty.npy", numpy.zeros((0, 384), numpy.float32))
    numpy.save(folder / "none.npy", numpy.full((3, 384), numpy.nan, numpy.float32))
    done = search(*arguments)
    assert done.code == 2, done.stderr
    assert said in done.stderr
    assert done.text == ""


def test_another_model_than_the_one_that_made_the_vectors(search, tiny):
    model = tiny("feature-extraction")
    done = search("money", "--in", "v.safetensors", "--model", model)
    assert done.code == 2
    assert "v.safetensors was made by minilm" in done.stderr
    done = search("money", "--in", "v.npy", "--model", model)
    assert done.code == 2
    assert "the vectors in v.npy have 384 numbers" in done.stderr


def test_the_embedded_model_has_two_names(search):
    done = search("money", "--in", "v.safetensors", "--model", "minilm", "-k", "1")
    assert (done.code, done.lines[0]["row"]) == (0, 0)


@pytest.mark.parametrize("read", ["--in", "--queries", "--texts"])
def test_nothing_that_is_read_is_replaced(read, search, folder, tmp_path):
    for name in ("v.npy", "whole.txt"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    files = {"--in": "v.npy", "--texts": "whole.txt", "--queries": "whole.txt"}
    files = {option: str(tmp_path / name) for option, name in files.items()}
    call = [each for option in ("--in", read) for each in (option, files[option])]
    query = [] if read == "--queries" else ["money"]
    before = Path(files[read]).read_bytes()
    done = search(*query, *call, *MINILM, "-o", files[read], "-f", "jsonl", "--overwrite")
    assert done.code == 2
    assert "is the input" in done.stderr
    assert Path(files[read]).read_bytes() == before


def test_a_file_of_queries_without_a_column_that_is_one(search, folder):
    (folder / "queries.csv").write_text("number,words\n1,money\n2,a pet\n")
    done = search("--queries", "queries.csv", "--in", "v.parquet")
    assert done.code == 2
    assert "which column of queries.csv is the query? It has number, words." in done.stderr


def test_a_query_that_says_nothing_does_not_stop_the_others(search):
    done = search("--in", "v.npy", *MINILM, "-k", "1", stdin="money\n\nfish\n")
    assert done.code == 3
    assert [line["query"] for line in done.lines] == ["money", "fish"]
    assert "stdin:2: the query is empty" in done.stderr
    assert "1 of 3 rows were rejected" in done.stderr


@pytest.mark.parametrize("queries", [("money", ""), ("--queries", "some.jsonl")])
def test_rejected_queries_are_kept(queries, search, folder, tmp_path):
    (folder / "some.jsonl").write_text('{"query": "money"}\n{"query": ""}\n')
    rejects, out = tmp_path / "bad.jsonl", tmp_path / "out.jsonl"
    call = (*queries, "--in", "v.npy", *MINILM, "-k", "1", "-o", str(out))
    done = search(*call, "--rejects", str(rejects))
    assert done.code == 3
    assert f"1 of 2 rows were rejected; they are in {rejects}" in done.stderr
    assert len(out.read_text().splitlines()) == 1
    row = json.loads(rejects.read_text())
    assert (row["line"], row["reason"]) == (2, "the query is empty")


def test_an_output_that_is_there_is_refused_before_the_texts_are_embedded(search, tmp_path):
    there = tmp_path / "there.csv"
    there.write_text("kept")
    done = search("money", "--in", "texts.txt", *MINILM, "-o", str(there))
    assert done.code != 0
    assert "there.csv is there already" in done.stderr
    assert "are kept in" not in done.stderr
    assert there.read_text() == "kept"


def test_a_cache_that_cannot_be_written_keeps_nothing_and_stops_nothing(search, tmp_path):
    (tmp_path / "no-folder").write_text("")
    env = {"LLMKIT_CACHE": str(tmp_path / "no-folder")}
    done = search("money", "--in", "texts.txt", *MINILM, "-k", "1", env=env)
    assert done.code == 0, done.stderr
    assert "the vectors of texts.txt are not kept: cannot write" in done.stderr
    assert "--resume" not in done.stderr
    assert len(done.lines) == 1
