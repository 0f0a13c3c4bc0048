"""Files of vectors read again, each written by its own library."""

from __future__ import annotations

import csv
import json

import numpy
import pyarrow
import pyarrow.parquet
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from llmkit.embeddings.vector_files import array_blocks, open_vectors
from llmkit.errors import DataError

VECTORS = numpy.random.default_rng(0).standard_normal((7, 5)).astype(numpy.float32)
TEXTS = [f"text {number}" for number in range(7)]


def write_npy(path):
    numpy.save(path, VECTORS)


def write_safetensors(path):
    safetensors.numpy.save_file({"embeddings": VECTORS}, path, {"model": "some/model"})


def write_parquet(path):
    vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(VECTORS.ravel()), 5)
    pyarrow.parquet.write_table(pyarrow.table({"text": TEXTS, "embedding": vectors}), path, row_group_size=3)


def write_jsonl(path):
    rows = zip(TEXTS, VECTORS.tolist(), strict=True)
    path.write_text("".join(json.dumps({"text": text, "embedding": vector}) + "\n" for text, vector in rows))


def write_csv(path):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", *(f"d{number}" for number in range(5))])
        writer.writerows([text, *vector] for text, vector in zip(TEXTS, VECTORS.tolist(), strict=True))


WRITERS = {
    "npy": write_npy,
    "safetensors": write_safetensors,
    "parquet": write_parquet,
    "jsonl": write_jsonl,
    "csv": write_csv,
}


@pytest.mark.parametrize("ending", WRITERS)
def test_every_format(ending, tmp_path):
    path = tmp_path / f"vectors.{ending}"
    WRITERS[ending](path)
    file = open_vectors(str(path))
    blocks = list(file.blocks())
    assert file.dimension == 5
    assert all(block.dtype == numpy.float32 and block.shape[1] == 5 for block in blocks)
    assert numpy.concatenate(blocks) == pytest.approx(VECTORS, abs=0)
    assert numpy.concatenate(list(file.blocks())) == pytest.approx(VECTORS, abs=0), "a second time"
    if ending in ("npy", "safetensors"):
        assert file.columns is None
    else:
        assert [row["text"] for row in file.columns()] == TEXTS
    assert file.metadata.get("model") == ("some/model" if ending == "safetensors" else None)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype, tmp_path):
    path = str(tmp_path / "v.safetensors")
    given = torch.from_numpy(VECTORS).to(dtype)
    safetensors.torch.save_file({"embeddings": given}, path)
    found = numpy.concatenate(list(open_vectors(path).blocks()))
    assert found.tolist() == given.float().tolist()


@pytest.mark.parametrize("dtype", [numpy.float16, numpy.int8, numpy.uint8, numpy.uint16, ">f4"])
def test_arrays_from_elsewhere(dtype, tmp_path):
    given = (VECTORS * 10).round().clip(0, 100).astype(dtype)
    numpy.save(tmp_path / "v.npy", given)
    found = numpy.concatenate(list(open_vectors(str(tmp_path / "v.npy")).blocks()))
    assert found.dtype == numpy.float32 and found.tolist() == given.tolist()


def test_blocks_of_a_large_array(monkeypatch):
    monkeypatch.setattr("llmkit.embeddings.vector_files.BLOCK_NUMBERS", 12)
    blocks = list(array_blocks(VECTORS))
    assert [len(block) for block in blocks] == [2, 2, 2, 1]
    assert numpy.concatenate(blocks).tolist() == VECTORS.tolist()


def test_rows_without_a_vector_are_nan(tmp_path):
    lines, table = tmp_path / "v.jsonl", tmp_path / "v.parquet"
    rows = [[1.0, 2.0], None, [3.0, 4.0]]
    lines.write_text("".join(json.dumps({"embedding": row}) + "\n" for row in rows) + "not json\n")
    pyarrow.parquet.write_table(pyarrow.table({"embedding": rows}), table)
    for path, count in ((lines, 4), (table, 3)):
        found = numpy.concatenate(list(open_vectors(str(path)).blocks()))
        assert numpy.isnan(found).all(axis=1).tolist() == [False, True, False, True][:count]


def test_the_first_row_may_be_without_a_vector(tmp_path):
    path = tmp_path / "v.jsonl"
    path.write_text('{"text": "a", "embedding": null}\n{"text": "b", "embedding": [1, 2]}\n')
    file = open_vectors(str(path))
    assert file.dimension == 2
    assert numpy.isnan(numpy.concatenate(list(file.blocks()))).all(axis=1).tolist() == [True, False]


def test_numbers_in_columns_of_json_may_be_zero(tmp_path):
    path = tmp_path / "v.jsonl"
    path.write_text('{"d0": 0, "d1": 1.5}\n{"d0": 0.0, "d1": ""}\n')
    assert (
        str(numpy.concatenate(list(open_vectors(str(path)).blocks())).tolist()) == "[[0.0, 1.5], [0.0, nan]]"
    )


def test_texts_are_no_vectors(tmp_path):
    (tmp_path / "a.csv").write_text("text,d\nhello,1\n")
    (tmp_path / "a.jsonl").write_text('{"text": "hello"}\n')
    pyarrow.parquet.write_table(pyarrow.table({"text": TEXTS}), tmp_path / "a.parquet")
    for ending in ("csv", "jsonl", "parquet"):
        assert open_vectors(str(tmp_path / f"a.{ending}")) is None
    assert open_vectors("notes.txt") is None


def test_a_row_of_another_length(tmp_path):
    path = tmp_path / "v.jsonl"
    path.write_text('{"embedding": [1, 2]}\n{"embedding": [1, 2, 3]}\n')
    with pytest.raises(DataError, match="row 1 has a vector of 3 numbers, the first of 2"):
        list(open_vectors(str(path)).blocks())
    pyarrow.parquet.write_table(
        pyarrow.table({"embedding": [[1.0, 2.0], [1.0], [1.0, 2.0, 3.0]]}), tmp_path / "v.parquet"
    )
    with pytest.raises(DataError, match="row 1 has a vector of 1 numbers"):
        list(open_vectors(str(tmp_path / "v.parquet")).blocks())


def test_damaged_files(tmp_path):
    for ending in ("npy", "safetensors", "parquet"):
        path = tmp_path / f"v.{ending}"
        path.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00nothing of the kind")
        with pytest.raises(DataError, match=f"v.{ending}"):
            open_vectors(str(path))
    write_safetensors(tmp_path / "v.safetensors")
    whole = (tmp_path / "v.safetensors").read_bytes()
    (tmp_path / "v.safetensors").write_bytes(whole[:-4])
    with pytest.raises(DataError, match="it ends before its vectors do"):
        open_vectors(str(tmp_path / "v.safetensors"))


@pytest.mark.parametrize(
    "entry",
    [
        {"shape": [2, 4], "data_offsets": [0, 16]},
        {"shape": [2, 4]},
        {"shape": ["x", 4], "data_offsets": [0, 32]},
        {"shape": [2, 4], "data_offsets": ["a", None]},
        {"shape": [-2, -4], "data_offsets": [0, 32]},
        {"shape": [2, 4], "data_offsets": 32},
    ],
)
def test_a_header_that_does_not_fit_its_vectors(entry, tmp_path):
    path = tmp_path / "v.safetensors"
    header = json.dumps({"embeddings": {"dtype": "F32", **entry}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(32))
    with pytest.raises(DataError, match=r"v\.safetensors is damaged"):
        open_vectors(str(path))


def test_vectors_of_tokens(tmp_path):
    numpy.save(tmp_path / "v.npy", numpy.zeros((2, 3, 4), numpy.float32))
    safetensors.numpy.save_file({"embeddings.0": VECTORS, "offsets.0": VECTORS}, tmp_path / "v.safetensors")
    pyarrow.parquet.write_table(
        pyarrow.table({"embedding": [[[1.0, 2.0]], [[3.0, 4.0]]]}), tmp_path / "v.parquet"
    )
    (tmp_path / "v.jsonl").write_text('{"embedding": [[1, 2], [3, 4]]}\n')
    for ending in ("npy", "safetensors", "parquet", "jsonl"):
        with pytest.raises(DataError, match=r"a vector a row|one vector a text"):
            open_vectors(str(tmp_path / f"v.{ending}"))


def test_a_pickle_is_not_read(tmp_path):
    numpy.save(tmp_path / "v.npy", numpy.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"no \.npy file of numbers"):
        open_vectors(str(tmp_path / "v.npy"))
