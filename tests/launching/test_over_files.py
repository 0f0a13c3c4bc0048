"""``llmkit pipeline`` and ``llmkit embed`` in two processes: what one gives, in the rows' order, gone on with."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmkit.data.shared_rows import packed, unpacked
from tests.fixtures.command import Command
from tests.launching.running import TWO, Launched

Tiny = Callable[[str], Path]
WORDS = "the bank raised its rates after a long debate".split()  # noqa: SIM905
CLASSIFY = ("pipeline", "text-classification", "-i", "rows.jsonl", "--column", "text", "--device", "cpu")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """More rows than fit in three windows; one in a hundred has no text."""
    chosen = random.Random(0)
    with (tmp_path / "rows.jsonl").open("w") as file:
        for number in range(500):
            text = " ".join(chosen.choice(WORDS) for _ in range(chosen.randint(1, 12)))
            file.write(json.dumps({"number": number, "text": None if number % 100 == 99 else text}) + "\n")
    return tmp_path


def test_a_task(rows: Path, tiny: Tiny, llmkit: Command) -> None:
    call = (*CLASSIFY, "-m", str(tiny("text-classification")), "--keep-input", "-o")
    assert llmkit(*call, "one.jsonl", cwd=rows).code == 3

    code, _, errors = Launched(rows, *call, "two.jsonl", *TWO[2:]).wait()

    assert code == 3, errors
    assert errors.count("5 of 500 rows were rejected") == 1
    for name in ("two.jsonl", "two.jsonl.rejects.jsonl"):
        assert (rows / name).read_bytes() == (rows / name.replace("two", "one")).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["npy", "parquet", "jsonl"])
def test_vectors_killed_and_begun_again(rows: Path, tiny: Tiny, llmkit: Command, ending: str) -> None:
    call = (
        "embed",
        "-i",
        "rows.jsonl",
        "--column",
        "text",
        "--device",
        "cpu",
        "-m",
        str(tiny("feature-extraction")),
    )
    assert llmkit(*call, "-o", f"one.{ending}", cwd=rows).code == 3

    run = Launched(rows, *call, "-o", f"two.{ending}", *TWO[2:], "--max-restarts", "1")
    run.wait_for(f"two.{ending}.partial")
    run.kill(1)
    code, _, errors = run.wait()

    assert code == 3, errors
    assert (rows / f"two.{ending}").read_bytes() == (rows / f"one.{ending}").read_bytes()


@pytest.mark.slow
def test_told_to_stop_and_gone_on_with_by_one(rows: Path, tiny: Tiny, llmkit: Command) -> None:
    call = (*CLASSIFY, "-m", str(tiny("text-classification")), "-o")
    assert llmkit(*call, "one.jsonl", cwd=rows).code == 3
    run = Launched(rows, *call, "two.jsonl", *TWO[2:])
    run.wait_for("two.jsonl.progress")
    run.process.terminate()
    code, _, errors = run.wait()
    if code == 143:
        assert errors.count("rows are done and kept; run the same command with --resume") == 1
        assert llmkit(*call, "two.jsonl", "--resume", cwd=rows).code == 3
    else:
        assert code == 3, "it was done before"

    assert (rows / "two.jsonl").read_bytes() == (rows / "one.jsonl").read_bytes()


@pytest.mark.slow
def test_an_error_of_all_is_said_once(rows: Path, tiny: Tiny) -> None:
    call = ("pipeline", "text-classification", "-i", "rows.jsonl", "--column", "txt", "--device", "cpu")

    code, output, errors = Launched(rows, *call, "-m", str(tiny("text-classification")), *TWO[2:]).wait()

    assert (code, output) == (2, "")
    assert errors.count("error:") == 1


def test_what_the_options_say_is_checked_before_the_processes_are_started(rows: Path) -> None:
    call = ("embed", "-i", "rows.jsonl", "--column", "text", "-o", "v.npy", "--resume", "--overwrite")

    code, _, errors = Launched(rows, *call, *TWO).wait()

    assert (code, errors.count("error: --resume goes on with a run")) == (2, 1)
    assert "starting" not in errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("pipeline", "text-classification", "a text"),
            "several processes work on files and datasets alone.",
        ),
        (("embed", "-i", "rows.jsonl", "--column", "text", "--dedupe"), "--dedupe goes with one process"),
    ],
)
def test_what_has_one_process(arguments: tuple[str, ...], said: str, rows: Path, llmkit: Command) -> None:
    done = llmkit(*arguments, *TWO, cwd=rows)

    assert done.code == 2
    assert said in done.stderr


arrays = st.builds(
    lambda kind, shape: numpy.arange(int(numpy.prod(shape)), dtype=kind).reshape(shape),
    st.sampled_from(["float32", "int64", "float16", "uint8"]),
    st.lists(st.integers(0, 4), max_size=3).map(tuple),
)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | arrays
values = st.recursive(
    plain,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.lists(inner).map(tuple),
    max_leaves=8,
)


@given(values)
@example({"\0array": []})
@example({"\0tuple": None, "\0\0array": [{"\0": 1}]})
def test_what_is_packed_comes_out_again(value: Any) -> None:
    assert_same(unpacked(packed(value)), value)


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, numpy.ndarray):
        assert found.dtype == expected.dtype
        numpy.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, inner in expected.items():
            assert_same(found[key], inner)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert_same(ours, theirs)
    else:
        assert found == expected
