"""Search from Python, and the vectors' files in a database of vectors."""

from __future__ import annotations

import numpy
import pytest

from llmkit import embed, search
from llmkit.errors import DataError, UsageError

TEXTS = [
    "He opened a savings account.",
    "The river was full of fish.",
    "The bank approved the loan.",
    "A cat sleeps on the mat.",
    "Dogs bark at night.",
    "Interest rates rose again.",
]


def rows(hits):
    return [hit.row for hit in hits]


def test_among_texts_vectors_and_files(llmkit, tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    for ending in ("npy", "safetensors"):
        done = llmkit("embed", "-i", "texts.txt", "-m", "minilm", "-o", f"v.{ending}", cwd=tmp_path)
        assert done.code == 0, done.stderr
    found = search("a pet", TEXTS, "minilm", top_k=2)
    assert rows(found) == [4, 3]
    vectors = embed(TEXTS, "minilm")
    assert search("a pet", vectors, "minilm", top_k=2) == pytest.approx(found)
    assert rows(search("a pet", tmp_path / "v.npy", "minilm", top_k=2)) == [4, 3]
    assert rows(search("a pet", tmp_path / "v.safetensors", top_k=2)) == [4, 3], "the file names the model"
    several = search(["a pet", "money"], vectors, "minilm", top_k=2)
    assert rows(several[0]) == [4, 3]
    assert [rows(hits) for hits in search(vectors[[4, 0]], vectors, top_k=1)] == [[4], [0]]


def test_what_cannot_be_searched(tmp_path):
    with pytest.raises(UsageError, match="--top-k 0"):
        search("a", TEXTS, top_k=0)
    with pytest.raises(DataError, match="no file of vectors"):
        search("a", tmp_path / "notes.txt", "minilm")
    with pytest.raises(DataError, match="of 3 and of 384 numbers"):
        search("a", numpy.ones((2, 3)), "minilm")


def test_a_database_of_vectors_takes_the_file_as_it_stands(llmkit, tmp_path):
    """LanceDB makes a table of the parquet file, and finds what `llmkit search` finds."""
    lancedb = pytest.importorskip("lancedb")
    import pyarrow.parquet

    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    done = llmkit("embed", "-i", "texts.txt", "-m", "minilm", "-o", "v.parquet", cwd=tmp_path)
    assert done.code == 0, done.stderr
    table = lancedb.connect(tmp_path / "db").create_table(
        "notes", pyarrow.parquet.read_table(tmp_path / "v.parquet")
    )
    for query in ("money in the bank", "animals"):
        found = (
            table.search(embed(query, "minilm"), vector_column_name="embedding")
            .distance_type("cosine")
            .limit(3)
        )
        ours = llmkit("search", query, "--in", "v.parquet", "-k", "3", cwd=tmp_path).lines
        theirs = found.to_list()
        assert [row["text"] for row in theirs] == [hit["text"] for hit in ours]
        assert [1 - row["_distance"] for row in theirs] == pytest.approx(
            [hit["score"] for hit in ours], abs=1e-5
        )
