"""YAML with the plain values of YAML 1.2, and where each value stands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.data.yaml_text import Place, parse_value, read_yaml
from llmkit.errors import UsageError

words = st.text(st.characters(categories=("L", "N"), max_codepoint=0x2FF), min_size=1, max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | words,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(words, below, max_size=3),
    max_leaves=12,
)


@given(values)
def test_json_is_read_as_it_is(value: Any) -> None:
    assert read_yaml(json.dumps(value), "x").value == value


@given(st.dictionaries(words, st.integers(0, 9), min_size=1, max_size=6))
def test_every_key_and_value_has_its_place(values: dict[str, int]) -> None:
    text = "".join(f"  {json.dumps(key, ensure_ascii=False)}: {value}\n" for key, value in values.items())

    document = read_yaml(text, "x")

    lines = text.splitlines()
    for number, (key, value) in enumerate(values.items(), start=1):
        assert document.keys[(key,)] == Place(number, 3)
        place = document.values[(key,)]
        assert lines[place.line - 1][place.column - 1 :] == str(value)
        assert document.texts[(key,)] == str(value)


def test_lists_and_nested_keys_have_paths() -> None:
    document = read_yaml("data:\n  files: [a, b]\n", "x")

    assert document.value == {"data": {"files": ["a", "b"]}}
    assert document.keys[("data", "files")] == Place(2, 3)
    assert document.values[("data", "files", 1)] == Place(2, 14)


def test_merged_keys_are_read() -> None:
    text = "base: &base {a: 1, b: 2}\nother:\n  <<: *base\n  b: 3\n"

    assert read_yaml(text, "x").value["other"] == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "f.yaml:1:"),
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: the key 'a' is there twice, first in line 1."),
        ("a: 1\n--- \nb: 2\n", "f.yaml:"),
        ("a: *nothing\n", "f.yaml:1:4: not YAML: found undefined alias"),
        ("[" * 5000, "f.yaml"),
        (f"a: {'9' * 5000}", "f.yaml:1:4: not YAML: a number has thousands of digits."),
        (f"? {'9' * 5000}\n: a", "f.yaml:1:3: not YAML: a number has thousands of digits."),
    ],
)
def test_what_is_not_yaml_is_named_with_its_place(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_yaml(text, "f.yaml")

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1", "not a YAML value"),
        ("9" * 5000, "a number has thousands of digits"),
        ("[" * 5000, "nested too deeply"),
        ("!!int x", "'x' is no int"),
    ],
)
def test_a_value_that_cannot_be_read_is_one_short_message(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        parse_value(text, f"--set a={text}")

    assert len(str(caught.value)) < 200
