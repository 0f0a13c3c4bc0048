"""`-p key=value`: YAML, as people mean it."""

import datetime
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.cli.parameters import parse_mapping, parse_pairs, parse_value
from llmkit.errors import UsageError

JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=["C"])),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(JSON)
def test_json_is_yaml(value):
    """Numbers keep their type and every digit, wherever they stand."""
    found = parse_value(json.dumps(value, ensure_ascii=False), "-p x")
    assert found == value
    assert json.dumps(found) == json.dumps(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_however_it_is_written(number):
    for text in (repr(number), f"{number:e}", f"{number:.17E}"):
        found = parse_value(text, "-p x")
        assert isinstance(found, float), text
        assert found == pytest.approx(number, rel=1e-5)
    assert parse_value(repr(number), "-p x") == number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        ("-2.5e3", -2500.0),
        ("[1e-4, 2e-5]", [1e-4, 2e-5]),
        ("{lr: 1e-4}", {"lr": 1e-4}),
        ("true", True),
        ("False", False),
        ("[true, 1]", [True, 1]),
        ("null", None),
        ("None", None),
        ("~", None),
        ("simple", "simple"),
        ("en", "en"),
        ("no", "no"),  # Norwegian
        ("yes", "yes"),
        ("on", "on"),
        ("[yes, no]", ["yes", "no"]),
        ("'3'", "3"),
        ('"true"', "true"),
        ("1:30", "1:30"),
        ("010", "010"),
        ("2020-01-01", "2020-01-01"),
        ("[2020-01-01]", ["2020-01-01"]),
        ("eleven", "eleven"),
        ("e", "e"),
        ("1e", "1e"),
        ("{a: , b: 1}", {"a": None, "b": 1}),
        ("<mask>", "<mask>"),
        ("a b", "a b"),
        ("[a, b]", ["a", "b"]),
        ("{a: 1}", {"a": 1}),
        ("a=b", "a=b"),
        ("Hello world", "Hello world"),
    ],
)
def test_values(text, value):
    found = parse_value(text, "-p x")
    assert (found, type(found)) == (value, type(value))
    assert not isinstance(found, datetime.date)


def test_nan_and_infinity_are_numbers_too():
    assert parse_value(".inf", "x") == math.inf
    assert math.isnan(parse_value(".nan", "x"))


def test_pairs():
    assert parse_pairs(["top_k=3", " function = none ", "a=b=c", "t="], "-p") == {
        "top_k": 3, "function": "none", "a": "b=c", "t": None,
    }  # fmt: skip


@pytest.mark.parametrize("pair", ["top_k", "=3", " =3", ""])
def test_a_pair_that_is_none(pair):
    with pytest.raises(UsageError, match="write it as key=value"):
        parse_pairs([pair], "-p")


@pytest.mark.parametrize(
    "text", ["[1, 2", "{a: ", "'open", "*alias", "!!python/object:os.system {}", "@x", "a: b: c"]
)
def test_what_is_no_yaml_is_told_in_one_message(text):
    with pytest.raises(UsageError, match=r"-p x=.*: not a YAML value") as caught:
        parse_pairs([f"x={text}"], "-p")
    assert "\n" not in caught.value.message
    assert "quotes" in caught.value.hint


def test_mapping():
    assert parse_mapping("question=q, context = the passage") == {"question": "q", "context": "the passage"}
    assert parse_mapping(None) == {}
    for wrong in ("question", "=q", "question=", "a=b,,c=d"):
        with pytest.raises(UsageError, match="field=column"):
            parse_mapping(wrong)
    with pytest.raises(UsageError, match="text is there twice"):
        parse_mapping("text=a, text =b")
