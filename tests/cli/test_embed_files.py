"""`llmkit embed`: the files that it writes."""

from __future__ import annotations

import csv
import io
import json

import numpy
import pyarrow
import pyarrow.parquet
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from llmkit import embed
from tests.cli.embedded import BANK, TEXTS


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Four rows of JSON Lines, the third of them bad, the last like the first."""
    path = tmp_path_factory.mktemp("embed") / "rows.jsonl"
    rows = [{"id": number, "text": text} for number, text in enumerate([*TEXTS[:2], "", BANK])]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def written(llmkit, tmp_path, name, *arguments, code=3):
    done = llmkit("embed", *arguments, "-o", tmp_path / name, "--quiet")
    assert done.code == code, done.stderr
    left = {path.name for path in tmp_path.iterdir()} - {name}
    assert left == ({f"{name}.rejects.jsonl"} if code else set())
    return tmp_path / name


def test_npy(llmkit, bert, file, vectors, tmp_path):
    found = numpy.load(written(llmkit, tmp_path, "v.npy", "-i", file, "-m", bert), mmap_mode="r")
    assert (found.shape, found.dtype) == ((4, 32), numpy.float32)
    numpy.testing.assert_allclose(found[[0, 1, 3]], vectors[[0, 1, 0]], rtol=0, atol=1e-5)
    assert numpy.isnan(found[2]).all()  # a row that was rejected keeps its number


def test_rows_rejected_before_the_first_vector_are_rows_too(llmkit, bert, tmp_path):
    (tmp_path / "in").mkdir()
    source = tmp_path / "in" / "a.jsonl"
    source.write_text('{"text": ""}\n{"text": ""}\n{"text": "good"}\n{"text": ""}\n')
    (tmp_path / "out").mkdir()
    found = numpy.load(written(llmkit, tmp_path / "out", "v.npy", "-i", source, "-m", bert))
    assert numpy.isnan(found).all(axis=1).tolist() == [True, True, False, True]


def test_npy_of_the_tokens_of_one_text(llmkit, bert, tmp_path):
    path = written(llmkit, tmp_path, "v.npy", BANK, "-m", bert, "--level", "token", code=0)
    numpy.testing.assert_allclose(numpy.load(path), embed(BANK, str(bert), level="token"), rtol=0, atol=1e-6)
    done = llmkit("embed", *TEXTS, "-m", bert, "--level", "token", "-o", tmp_path / "w.npy")
    assert done.code == 2
    assert ".npy file holds one array" in done.stderr and ".parquet" in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["v.npy"]


def test_safetensors(llmkit, bert, file, vectors, tmp_path):
    path = written(llmkit, tmp_path, "v.safetensors", "-i", file, "-m", bert)
    found = load_file(path)["embeddings"]
    assert found.shape == (4, 32) and numpy.isnan(found[2]).all()
    numpy.testing.assert_allclose(found[:2], vectors[:2], rtol=0, atol=1e-5)
    with safe_open(path, "numpy") as opened:
        assert opened.metadata()["model"] == str(bert) and opened.metadata()["level"] == "sentence"


def test_safetensors_with_much_to_say(llmkit, bert, tmp_path):
    prompt = 'Represent "this": ' * 400
    path = written(llmkit, tmp_path, "v.safetensors", "a", "-m", bert, "--prompt", prompt, code=0)
    with safe_open(path, "numpy") as opened:
        assert opened.metadata()["prompt"] == prompt and opened.get_tensor("embeddings").shape == (1, 32)


def test_safetensors_of_the_tokens_of_several_texts(llmkit, bert, file, tmp_path):
    path = written(llmkit, tmp_path, "v.safetensors", "-i", file, "-m", bert, "--level", "token")
    found = load_file(path)
    assert set(found) == {f"{name}.{row}" for name in ("embeddings", "offsets") for row in (0, 1, 3)}
    expected = embed([BANK, TEXTS[1]], str(bert), level="token")
    for row, each in enumerate(expected):
        numpy.testing.assert_allclose(found[f"embeddings.{row}"], each, rtol=0, atol=1e-5)
        assert found[f"offsets.{row}"].shape == (len(each), 2)


@pytest.mark.parametrize("level", ["sentence", "token", "word"])
def test_parquet(llmkit, bert, file, tmp_path, level):
    path = written(llmkit, tmp_path, "v.parquet", "-i", file, "-m", bert, "--level", level, "--keep-input")
    table = pyarrow.parquet.read_table(path)
    vector = pyarrow.list_(pyarrow.float32(), 32)
    assert table.schema.field("embedding").type == (vector if level == "sentence" else pyarrow.list_(vector))
    assert table.column("id").to_pylist() == [0, 1, 3]
    assert table.column("text").to_pylist() == [BANK, TEXTS[1], BANK]
    assert "input_text" not in table.column_names
    expected = embed([BANK, TEXTS[1], BANK], str(bert), level=level)
    for found, each in zip(table.column("embedding").to_pylist(), expected, strict=True):
        numpy.testing.assert_allclose(numpy.float32(found), each, rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", ["jsonl", "json", "csv", "tsv"])
def test_files_of_text(llmkit, bert, file, vectors, tmp_path, form):
    path = written(llmkit, tmp_path, f"v.{form}", "-i", file, "-m", bert)
    text = path.read_text()
    if form in ("csv", "tsv"):
        rows = list(csv.DictReader(io.StringIO(text), delimiter="," if form == "csv" else "\t"))
        found = [[row[f"d{number}"] for number in range(32)] for row in rows]
    else:
        rows = json.loads(text) if form == "json" else [json.loads(line) for line in text.splitlines()]
        found = [row["embedding"] for row in rows]
    assert [row["text"] for row in rows] == [BANK, TEXTS[1], BANK]
    numpy.testing.assert_allclose(numpy.float32(found), vectors[[0, 1, 0]], rtol=0, atol=1e-5)


def test_the_rejects_are_not_written_over_by_the_output(llmkit, bert, file, tmp_path):
    done = llmkit("embed", "-m", bert, "-i", file, "-o", "a.npy", "--rejects", "./a.npy", cwd=tmp_path)
    assert done.code == 2
    assert "--rejects ./a.npy is the output" in done.stderr
    assert not list(tmp_path.iterdir())
