"""The language of formulas: what is written is read again, and nothing but formulas is."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.architectures.algebra import Chain, Floor, Name, Number, Square, number, parse, show, work_out

NAMES = {"hidden_size": 768, "vision_config.depths[0]": 2, "head_dim": 64, "mlp_ratio": 2.5}

atoms = st.one_of(
    st.integers(0, 10**9).map(lambda value: Number(Fraction(value))), st.sampled_from(list(NAMES)).map(Name)
)


def chains(operators, operands):
    rest = st.lists(st.tuples(st.sampled_from(operators), operands), min_size=1, max_size=3).map(tuple)
    return st.builds(Chain, operands, rest)


expressions = st.recursive(
    atoms,
    lambda inner: st.one_of(chains("+−", inner), chains("×/", inner), inner.map(Square), inner.map(Floor)),
    max_leaves=8,
)


def value(expression):
    try:
        return work_out(expression, NAMES.__getitem__)
    except ZeroDivisionError:
        return "division by zero"


@given(expressions)
def test_what_is_shown_is_read_as_the_same(expression):
    read = parse(show(expression))
    assert value(read) == value(expression)
    assert show(read) == show(expression)


@given(st.lists(st.tuples(st.sampled_from("+−×"), st.integers(0, 999)), min_size=1, max_size=6))
def test_ranks_are_those_of_arithmetic(steps):
    ours = "7" + "".join(f" {operator} {operand}" for operator, operand in steps)
    assert value(parse(ours)) == eval(ours.replace("−", "-").replace("×", "*"))


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("3 × hidden_size", 2304),
        ("2 + 3 × 4", 14),
        ("(2 + 3) × 4", 20),
        ("7 − 2 − 1", 4),
        ("(hidden_size / head_dim)² + 1", 145),
        ("2 × head_dim²", 8192),
        ("30,522 × 2", 61044),
        ("vision_config.depths[0] * 2 - 1", 3),
        ("mlp_ratio × hidden_size", 1920),
        ("hidden_size / 5 × 2", 306),  # as in Python: 768 // 5 * 2
        ("head_dim / mlp_ratio", Fraction(128, 5)),
    ],
)
def test_values(formula, expected):
    assert value(parse(formula)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2 +",
        "× 2",
        "(2",
        "2)",
        "2 3",
        "a b",
        "__import__('os')",
        "a.__class__()",
        "a[b]",
        "a = 1",
        "²",
        "2 %",
    ],
)
def test_what_is_no_formula(text):
    with pytest.raises(ValueError, match="is not a formula"):
        parse(text)


def test_an_unknown_name():
    with pytest.raises(KeyError, match="hiden_size"):
        work_out(parse("hiden_size × 2"), NAMES.__getitem__)


def test_brackets_are_only_where_they_are_needed():
    assert show(parse("((a × (b + c)) + ((d / e) × f))")) == "a × (b + c) + d / e × f"
    assert show(parse("a − (b − c)")) == "a − (b − c)"
    assert show(parse("a × (b / c)")) == "a × (b / c)"


@pytest.mark.parametrize(
    ("value", "text"), [(30522, "30,522"), (2.5, "2.5"), (4.0, "4"), (Fraction(1, 2), "0.5")]
)
def test_numbers(value, text):
    assert number(value) == text
