"""Texts that are longer than the model takes: in parts, cut or refused, and that is said once."""

from __future__ import annotations

import pytest

from tests.cli.bad_input import check_message

LONG_TEXT = " ".join(["the film was good"] * 60)


@pytest.fixture
def long_lines(tmp_path):
    file = tmp_path / "long.txt"
    file.write_text(f"short\n{LONG_TEXT}\n{LONG_TEXT}\n")
    return file


def test_long_texts_are_worked_through_in_parts_and_that_is_said_once(llmkit, tiny, long_lines):
    done = llmkit("pipeline", "text-classification", "-i", long_lines, "-m", tiny("long_limit"))
    assert (done.code, len(done.lines)) == (0, 3)
    assert done.stderr.splitlines() == [
        "texts of more than 64 tokens are worked through in parts (--long truncate cuts them)"
    ]
    assert sum(each["score"] for each in done.lines) > 0


def test_long_texts_are_cut_where_that_is_asked_for(llmkit, tiny, long_lines):
    call = (
        "pipeline",
        "text-classification",
        "-i",
        long_lines,
        "-m",
        tiny("long_limit"),
        "--long",
        "truncate",
    )
    done = llmkit(*call)
    assert (done.code, len(done.lines)) == (0, 3)
    assert done.stderr.splitlines() == ["texts of more than 64 tokens are cut to what the model takes"]
    assert llmkit(*call, "--quiet").stderr == ""


def test_long_texts_are_an_error_where_that_is_asked_for(llmkit, tiny, long_lines):
    call = ("pipeline", "text-classification", "-m", tiny("long_limit"), "--long", "error")
    done = llmkit(*call, "-i", long_lines)
    assert (done.code, len(done.lines)) == (3, 1)
    assert f"{long_lines}:2: the text has" in done.stderr
    check_message(llmkit(*call, LONG_TEXT), 2, "the text has", "the model takes 64")


def test_max_length_is_a_lower_limit(llmkit, tiny, long_lines):
    call = ("pipeline", "text-classification", "-i", long_lines, "-m", tiny("text-classification"))
    done = llmkit(*call, "--max-length", "16", "--long", "truncate")
    assert done.code == 0
    assert done.stderr.splitlines() == ["texts of more than 16 tokens are cut to what --max-length takes"]
    assert done.lines[0] == pytest.approx(llmkit(*call, "--long", "truncate").lines[0])
