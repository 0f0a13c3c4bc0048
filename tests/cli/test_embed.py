"""`llmkit embed`: the vectors that it prints, of short texts and long ones, in full precision and less."""

from __future__ import annotations

import csv
import io
import shutil

import numpy
import pytest
import torch
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file

from llmkit import embed
from llmkit.models.loading import has_native_bfloat16
from tests.cli.embedded import BANK, TEXTS
from tests.cli.test_hub import needs_encoder
from tests.embeddings.conftest import encoder_of

# ---- what comes out


def test_lines_of_json(llmkit, bert, vectors):
    done = llmkit("embed", *TEXTS, "-m", bert, "-f", "jsonl")
    assert done.code == 0
    assert [list(line) for line in done.lines] == [["text", "token_count", "cut", "embedding"]] * 3
    assert [line["text"] for line in done.lines] == TEXTS
    for line, vector in zip(done.lines, vectors, strict=True):
        assert (numpy.float32(line["embedding"]) == vector).all()  # nothing is lost on the way


def test_the_shape_of_json_follows_the_call(llmkit, bert):
    one = llmkit("embed", BANK, "-m", bert, "-f", "json").json
    several = llmkit("embed", BANK, TEXTS[1], "-m", bert, "-f", "json").json
    assert (type(one), type(several)) == (dict, list)
    assert one["embedding"] == pytest.approx(several[0]["embedding"], abs=1e-5)


def test_tokens_with_their_places(llmkit, bert):
    found = llmkit("embed", BANK, "-m", bert, "--level", "token", "-f", "json").json
    assert list(found) == [
        "text",
        "tokens",
        "ids",
        "offsets",
        "special",
        "token_count",
        "cut",
        "embedding",
    ]
    sizes = {len(found[key]) for key in ("tokens", "ids", "offsets", "special", "embedding")}
    assert sizes == {found["token_count"]}
    assert (found["tokens"][0], found["special"][0], found["tokens"][-1]) == ("[CLS]", True, "[SEP]")
    assert sum(found["special"]) == 2
    for token, (start, end), special in zip(found["tokens"], found["offsets"], found["special"], strict=True):
        assert special or BANK[start:end].lower() == token.removeprefix("##")
    none = llmkit("embed", BANK, "-m", bert, "--pooling", "none", "-f", "json").json
    assert none == found


def test_words_with_their_places(llmkit, bert):
    found = llmkit("embed", BANK, "-m", bert, "--level", "word", "-f", "json").json
    assert list(found) == ["text", "words", "offsets", "token_count", "cut", "embedding"]
    assert found["words"] == ["He", "went", "to", "the", "bank", "to", "deposit", "money", "."]
    assert [BANK[start:end] for start, end in found["offsets"]] == found["words"]
    one = llmkit("embed", BANK, "-m", bert, "--word", "Bank", "-f", "json").json
    assert (one["word"], one["start"], one["end"]) == ("bank", 15, 19)
    assert one["embedding"] == pytest.approx(found["embedding"][4], abs=1e-5)


def test_a_word_that_a_text_lacks(llmkit, bert):
    done = llmkit("embed", BANK, "no such word here", "-m", bert, "--word", "bank", "-f", "jsonl")
    assert (done.code, len(done.lines)) == (3, 1)
    assert "rejected: argument:2: the text does not have the word 'bank'" in done.stderr


def test_a_table_of_numbers(llmkit, bert, vectors):
    done = llmkit("embed", *TEXTS, "-m", bert, "-f", "csv")
    head, *rows = csv.reader(io.StringIO(done.text))
    assert head == ["text", "token_count", "cut", *(f"d{number}" for number in range(32))]
    assert (numpy.float32([row[3:] for row in rows]) == vectors).all()
    tokens = llmkit("embed", BANK, "-m", bert, "--level", "token", "-f", "tsv")
    head, *rows = csv.reader(io.StringIO(tokens.text), delimiter="\t")
    assert head[:6] == ["row", "token", "id", "special", "start", "end"]
    assert len(rows) == len(embed(BANK, str(bert), level="token"))


def test_on_a_terminal(llmkit, bert):
    def shown(*arguments):
        terminal = llmkit.on_terminal("embed", *arguments, "-m", bert)
        text = terminal.read()
        terminal.close()
        assert terminal.exitstatus == 0
        return text

    one = shown(BANK)
    assert "torch.Size([1, 32])" in one and "cosine" not in one
    several = shown(*TEXTS)
    assert "torch.Size([3, 32])" in several and "cosine similarity" in several and "1.000" in several
    token = shown(BANK, "--level", "token")
    size = len(embed(BANK, str(bert), level="token"))
    assert f"torch.Size([1, {size}, 32])" in token and "[CLS]" in token and "special" in token
    word = shown(*TEXTS, "--word", "bank")
    assert "· bank" in word and "cosine similarity" in word
    assert "15–19" in shown(BANK, "--level", "word")


# ---- long texts


def test_long_texts_three_ways(llmkit, tiny):
    model = tiny("long_limit")  # 64 tokens
    texts = ["a good film", "a good film and a bad meal " * 30]
    whole = llmkit("embed", *texts, "-m", model, "-f", "jsonl")
    assert whole.code == 0
    assert whole.stderr == (
        "1 of 2 texts was cut to 64 tokens. --long split-mean counts every token of a text.\n"
    )
    assert (whole.lines[0]["cut"], whole.lines[1]["cut"]) == (0, whole.lines[1]["token_count"] - 64)
    split = llmkit("embed", *texts, "-m", model, "-f", "jsonl", "--long", "split-mean")
    assert (split.code, split.stderr, [line["cut"] for line in split.lines]) == (0, "", [0, 0])
    assert split.lines[0] == whole.lines[0]
    assert split.lines[1]["embedding"] != whole.lines[1]["embedding"]
    error = llmkit("embed", *texts, "-m", model, "-f", "jsonl", "--long", "error")
    assert (error.code, len(error.lines)) == (3, 1)
    assert f"{whole.lines[1]['token_count']} tokens, the model takes 64" in error.stderr
    shorter = llmkit("embed", *texts, "-m", model, "-f", "jsonl", "--max-length", "4")
    assert [line["cut"] for line in shorter.lines] == [line["token_count"] - 4 for line in whole.lines]


def test_the_mean_of_the_parts_of_a_text(tiny):
    model = str(tiny("long_limit"))
    words = ("a good film and a bad meal " * 30).split()
    text = " ".join(words)
    encoder = encoder_of(model, long="split-mean")
    (found,) = encoder.tokenizer.tokenize([text])
    parts = [encoder.sentence_vectors([piece])[0].numpy() for piece in found.pieces]
    weights = numpy.array([len(piece.ids) for piece in found.pieces], dtype=float)[:, None]
    assert len(parts) > 2 and found.cut == 0
    content = [token for piece in found.pieces for token in piece.ids[1:-1]]
    assert content == encoder.tokenizer.tokenizer(text, add_special_tokens=False)["input_ids"]
    mean = (numpy.stack(parts) * weights).sum(axis=0) / weights.sum()
    numpy.testing.assert_allclose(embed(text, model, long="split-mean"), mean, rtol=0, atol=1e-5)


# ---- precision


def test_reduced_precision_is_left_where_it_is_wrong(llmkit, bert, tmp_path):
    """A model whose first layer takes differences of large numbers: bfloat16 has none of their digits."""
    if not has_native_bfloat16(torch.device("cpu")):
        pytest.skip("--dtype auto is float32 on this processor")
    folder = tmp_path / "model"
    shutil.copytree(bert, folder)
    weights = load_tensors(folder / "model.safetensors")
    large = torch.tensor([1.0, -1.0]).repeat(16)
    weights["embeddings.word_embeddings.weight"] += 1000 * large
    weights["embeddings.LayerNorm.bias"] = -large * weights["embeddings.LayerNorm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    exact = llmkit("embed", *TEXTS, "-m", folder, "-f", "jsonl", "--dtype", "float32")
    reduced = llmkit("embed", *TEXTS, "-m", folder, "-f", "jsonl", "--dtype", "bfloat16")
    assert reduced.code == 0 and reduced.lines != exact.lines
    trusted = llmkit("embed", *TEXTS, "-m", folder, "-f", "jsonl", "--dtype", "auto")
    assert trusted.stderr.startswith(
        "staying in float32: in bfloat16 a vector of the first texts has a cosine"
    )
    assert trusted.lines == exact.lines


@needs_encoder
def test_reduced_precision_is_taken_where_it_is_right(llmkit):
    if not has_native_bfloat16(torch.device("cpu")):
        pytest.skip("--dtype auto is float32 on this processor")
    exact, reduced, trusted = (
        llmkit("embed", *TEXTS, "-m", "minilm", "-f", "jsonl", "--dtype", dtype)
        for dtype in ("float32", "bfloat16", "auto")
    )
    assert trusted.stderr == "" and trusted.lines == reduced.lines != exact.lines
    for one, other in zip(trusted.lines, exact.lines, strict=True):
        a, b = numpy.array(one["embedding"]), numpy.array(other["embedding"])
        assert a @ b / numpy.linalg.norm(a) / numpy.linalg.norm(b) > 0.9995
