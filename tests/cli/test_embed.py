"""`llmkit embed` from the shell: what it prints, what it writes, and what it says when something is wrong."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys

import numpy
import pyarrow
import pyarrow.parquet
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file

from llmkit import embed
from llmkit.models.loading import has_native_bfloat16
from tests.cli.test_hub import needs_encoder
from tests.embeddings.conftest import encoder_of
from tests.fixtures.command import base_environment

BANK = "He went to the bank to deposit money."
TEXTS = [BANK, "The bank approved the loan.", "She sat on the river bank and fished."]


@pytest.fixture(scope="module")
def bert(tiny):
    return tiny("feature-extraction")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Four rows of JSON Lines, the third of them bad, the last like the first."""
    path = tmp_path_factory.mktemp("embed") / "rows.jsonl"
    rows = [{"id": number, "text": text} for number, text in enumerate([*TEXTS[:2], "", BANK])]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def vectors(bert):
    return embed(TEXTS, str(bert))


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


# ---- files


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


# ---- inputs, and what is wrong with them


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
        (["--layers-merge", "avg"], 2, "Use one of mean, sum, concat."),
        (["--layer", "last"], 2, "'last' is no layer"),
        (["--layer", "9"], 2, "there is no such layer"),
        (["--dim", "0"], 2, "use a number from 1"),
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


def test_the_rejects_are_not_written_over_by_the_output(llmkit, bert, file, tmp_path):
    done = llmkit("embed", "-m", bert, "-i", file, "-o", "a.npy", "--rejects", "./a.npy", cwd=tmp_path)
    assert done.code == 2
    assert "--rejects ./a.npy is the output" in done.stderr
    assert not list(tmp_path.iterdir())


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
