"""Errors a user can cause: their exit codes, their words, and the nearest name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit import errors
from llmkit.cli.main import exit_code_of
from llmkit.errors import (
    DataError,
    HubError,
    LlmkitError,
    LostProcessError,
    MissingExtraError,
    ModelError,
    OutputError,
    OutputExistsError,
    UsageError,
    did_you_mean,
)

CODES = {
    LlmkitError: 1,
    UsageError: 2,
    DataError: 2,
    OutputExistsError: 2,
    ModelError: 1,
    HubError: 1,
    LostProcessError: 1,
    OutputError: 1,
}


@pytest.mark.parametrize(("kind", "code"), CODES.items())
def test_the_exit_code_of_each(kind, code, capsys):
    error = kind("what is wrong", hint="what to do")
    assert exit_code_of(error) == error.exit_code == code
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "error: what is wrong.\nwhat to do\n")


def test_every_error_is_among_them():
    kinds = {
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, LlmkitError)
    }
    assert kinds == {*CODES, MissingExtraError}


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BrokenPipeError(), 0, ""),
        (KeyboardInterrupt(), 130, "warning: interrupted.\n"),
        (ZeroDivisionError("division by zero\nmore"), 1, "error: ZeroDivisionError: division by zero.\n"),
        (AssertionError(), 1, "error: AssertionError.\n"),
        (MissingExtraError("reading audio", "audio"), 1, "error: reading audio needs the extra 'audio'.\n"),
    ],
)
def test_the_exit_code_of_what_else_can_happen(error, code, said, capsys):
    assert exit_code_of(error) == code
    assert capsys.readouterr().err.startswith(said)


def test_the_message_and_the_hint():
    assert str(LlmkitError("a")) == "a"
    assert str(LlmkitError("a", hint="b")) == "a\nb"
    assert "pip install 'hf-llmkit[vision]'" in str(MissingExtraError("reading images", "vision"))


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("summarizaton", "summarization"), ("SUMMARIZATION", "summarization"), ("trans-lation", "translation")],
)
def test_the_nearest_name(name, nearest):
    assert did_you_mean(name, ["translation", "summarization", "ner"]) == f"did you mean {nearest}?"


def test_nothing_near():
    assert did_you_mean("xyzzy", ["translation"]) is None
    assert did_you_mean("translation", []) is None


@given(st.lists(st.text("abcdefgh", min_size=4), min_size=1, unique=True), st.data())
def test_a_name_is_nearest_to_itself_and_its_case_is_kept(names, data):
    name = data.draw(st.sampled_from(names))
    assert did_you_mean(name.upper(), names) == f"did you mean {name}?"
