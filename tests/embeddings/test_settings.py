"""Layers as a person writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.embeddings.settings import EmbedSettings, check_settings, layer_numbers
from llmkit.errors import UsageError


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("-1", [12]),
        ("0", [0]),
        ("12", [12]),
        ("-13", [0]),
        ("1,2,3", [1, 2, 3]),
        ("-4:", [9, 10, 11, 12]),
        (":2", [0, 1]),
        ("1:3, -1", [1, 2, 12]),
    ],
)
def test_what_is_meant(text, numbers):
    assert layer_numbers(text, 12) == numbers


@pytest.mark.parametrize("text", ["13", "-14", "5:5", "13:", "", "a", "1,,2", "1.5", "1:2:3"])
def test_what_there_is_not(text):
    with pytest.raises(UsageError, match="--layer"):
        layer_numbers(text, 12)


@given(first=st.integers(-15, 15), last=st.integers(-15, 15))
def test_a_range_is_pythons(first, last):
    expected = list(range(13))[first:last]
    if expected:
        assert layer_numbers(f"{first}:{last}", 12) == expected
    else:
        with pytest.raises(UsageError):
            layer_numbers(f"{first}:{last}", 12)


@pytest.mark.parametrize("level", ["sentence", "token"])
def test_subwords_are_of_words(level):
    with pytest.raises(UsageError, match="--subwords max makes one vector of a word's tokens"):
        check_settings(EmbedSettings(level=level, subwords="max"))
    check_settings(EmbedSettings(level="word", subwords="max"))
    check_settings(EmbedSettings(word="bank", subwords="max"))
