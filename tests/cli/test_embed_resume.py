"""A run of `llmkit embed` that is killed, and gone on with, ends with the bytes of one that was not."""

from __future__ import annotations

import json
import random
import sqlite3

import numpy
import pytest

from tests.cli.test_resume import files_of, kill_after

ROWS = 1500
WORDS = "the film was good bad long short loved hated it we they but a bank by the river".split()  # noqa: SIM905
FORMS = [
    (form, level)
    for form in ("npy", "safetensors", "parquet", "jsonl", "json", "csv")
    for level in ("sentence", "token")
    if (form, level) not in (("npy", "token"), ("json", "token"), ("csv", "token"))
]

SHORT = [("jsonl", "token"), ("npy", "sentence")]  # one of each way of going on


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Texts of which half are there several times, and some are empty or too long."""
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    chance = random.Random(5)
    some = [" ".join(chance.choices(WORDS, k=chance.randint(1, 25))) for _ in range(ROWS // 2)]
    rows = [chance.choice(some) for _ in range(ROWS)]
    for number in range(3, ROWS, 90):
        rows[number] = ""
    for number in range(8, ROWS, 100):
        rows[number] = "a good film and a bad meal " * 30
    path.write_text("".join(f"{json.dumps({'id': n, 'text': text})}\n" for n, text in enumerate(rows)))
    return path


def call_of(texts, model, out, *more):
    return ["embed", "-i", texts, "-m", model, "-o", out, *more]


@pytest.mark.parametrize(
    ("form", "level"),
    [
        pytest.param(*each, marks=() if each in SHORT else pytest.mark.slow, id="-".join(each))
        for each in FORMS
    ],
)
def test_a_killed_run_ends_with_the_same_bytes(llmkit, tiny, texts, tmp_path, form, level):
    model = tiny("long_limit")
    whole, killed = tmp_path / f"whole.{form}", tmp_path / f"killed.{form}"
    more = ["--level", level, "--dedupe", *(["--keep-input"] if form == "parquet" else [])]
    uninterrupted = llmkit(*call_of(texts, model, whole, *more))
    assert uninterrupted.code == 3, uninterrupted.stderr
    call = call_of(texts, model, killed, *more)
    done = kill_after(call, 1)
    assert 0 < done["rows"] < ROWS
    with killed.with_name(f"{killed.name}.partial").open("ab") as partial:
        partial.write(b"half a row")
    resumed = llmkit(*call, "--resume")
    assert resumed.code == 3, resumed.stderr
    assert files_of(killed) == files_of(whole)
    assert set(files_of(killed)) == {f".{form}", f".{form}.rejects.jsonl"}
    # What is said at the end is of the whole input.
    ends = [
        each.stderr.replace(str(killed), str(whole)).splitlines()[-2:] for each in (uninterrupted, resumed)
    ]
    assert ends[0] == ends[1]
    assert "texts were cut to 64 tokens" in ends[0][0]


def test_equal_texts_are_embedded_once(llmkit, tiny, texts, tmp_path):
    """Over the whole input: the same text has the very same vector, however far its rows are apart."""
    model = tiny("long_limit")
    assert llmkit(*call_of(texts, model, tmp_path / "plain.npy"), "-q").code == 3
    assert llmkit(*call_of(texts, model, tmp_path / "once.npy", "--dedupe"), "-q").code == 3
    plain, once = (numpy.load(tmp_path / f"{name}.npy") for name in ("plain", "once"))
    numpy.testing.assert_allclose(once, plain, rtol=0, atol=1e-5)
    rows = [json.loads(line)["text"] for line in texts.read_text().splitlines()]
    first = {text: number for number, text in reversed(list(enumerate(rows)))}
    given = [number for number, text in enumerate(rows) if text]
    assert len(set(rows)) < 0.6 * len(rows)
    assert (once[given] == once[[first[rows[number]] for number in given]]).all()
    assert {path.name for path in tmp_path.iterdir() if "once" in path.name} == {
        "once.npy",
        "once.npy.rejects.jsonl",
    }


def test_what_a_killed_run_had_not_made_last_is_forgotten(llmkit, tiny, texts, tmp_path):
    model, out = tiny("long_limit"), tmp_path / "out.npy"
    call = call_of(texts, model, out, "--dedupe", "-q")
    done = kill_after(call, 1)
    seen = out.with_name("out.npy.seen")
    with sqlite3.connect(seen) as database:
        database.execute("INSERT INTO seen VALUES (?, ?, '{}', 32, x'00')", (b"later", done["rows"]))
    assert llmkit(*call, "--resume").code == 3
    assert not seen.exists()
    assert llmkit(*call_of(texts, model, tmp_path / "whole.npy", "--dedupe", "-q")).code == 3
    assert out.read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_a_run_begun_anew_remembers_nothing(llmkit, tiny, texts, tmp_path):
    model, out = tiny("long_limit"), tmp_path / "out.npy"
    kill_after(call_of(texts, model, out, "--dedupe", "-q"), 1)
    assert out.with_name("out.npy.seen").exists()
    assert llmkit(*call_of(texts, model, out, "-q", "--overwrite")).code == 3
    assert set(files_of(out)) == {".npy", ".npy.rejects.jsonl"}
