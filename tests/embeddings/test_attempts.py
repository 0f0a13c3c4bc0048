"""A text on which the model fails stands alone: those of its batch have their vectors."""

from __future__ import annotations

import shutil

import numpy
import pytest
import transformers
from safetensors.torch import load_file, save_file

from llmkit import embed
from llmkit.errors import DataError

TEXTS = ["the film was a delight", "the zebra was cold", "the meal was cold", "cold"]


@pytest.fixture(scope="module")
def damaged(folder_of, tmp_path_factory):
    """A folder whose tokenizer knows a word that the model does not."""
    folder = tmp_path_factory.mktemp("damaged") / "model"
    shutil.copytree(folder_of("bert"), folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["zebra"])
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def unsound(folder_of, tmp_path_factory):
    """A folder whose vector of the word "cold" is not a number."""
    folder = tmp_path_factory.mktemp("unsound") / "model"
    shutil.copytree(folder_of("bert"), folder)
    weights = load_file(folder / "model.safetensors")
    for number in transformers.AutoTokenizer.from_pretrained(folder)("cold", add_special_tokens=False)[
        "input_ids"
    ]:
        weights["embeddings.word_embeddings.weight"][number] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("level", ["sentence", "token", "word"])
def test_the_others_have_their_vectors(llmkit, damaged, folder_of, level):
    done = llmkit("embed", *TEXTS, "-m", damaged, "--level", level, "-f", "jsonl")
    assert done.code == 3
    assert [line["text"] for line in done.lines] == [TEXTS[0], *TEXTS[2:]]
    assert "rejected: argument:2: index out of range" in done.stderr
    expected = embed(TEXTS, str(folder_of("bert")), level=level)
    for line, number in zip(done.lines, (0, 2, 3), strict=True):
        numpy.testing.assert_allclose(line["embedding"], expected[number], rtol=0, atol=1e-5)


def test_a_vector_that_is_no_number_is_none(llmkit, unsound):
    texts = ["a warm film", "a cold meal", "a funny film"]
    done = llmkit("embed", *texts, "-m", unsound, "-f", "jsonl")
    assert (done.code, [line["text"] for line in done.lines]) == (3, [texts[0], texts[2]])
    assert "argument:2: the vector that the model gives has NaN or infinity in it" in done.stderr
    with pytest.raises(DataError, match=r"text 1: the vector .* NaN"):
        embed(texts, str(unsound))


def test_a_model_that_always_fails_is_told_once(llmkit, unsound):
    done = llmkit("embed", *["cold"] * 20, "-m", unsound, "-f", "jsonl")
    assert (done.code, done.stdout) == (1, b"")
    assert done.stderr.startswith("error: every row fails in the same way: the vector that the model gives")


def test_a_tokenizer_that_does_not_say_where_tokens_stand(llmkit, tiny):
    model = tiny("table-question-answering")
    for arguments, says in (
        (("--level", "token"), "does not say where tokens stand"),
        (("--word", "a"), "does not say where tokens stand"),
        (("--long", "split-mean"), "does not split long texts"),
    ):
        done = llmkit("embed", "a text", "-m", model, *arguments)
        assert (done.code, done.stdout) == (1, b"")
        assert says in done.stderr and "tokenizer.json" in done.stderr
