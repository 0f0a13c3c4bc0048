"""Like terms: collected, a sum has the value it had."""

from __future__ import annotations

from math import prod

from hypothesis import given
from hypothesis import strategies as st

from llmkit.architectures.algebra import number, parse, work_out
from llmkit.architectures.terms import collect, show_terms, term_of, value_of_terms

VALUES = {"hidden_size": 24, "depths[0]": 5, "heads": 4, "mlp_ratio": 4.0}
FORMULAS = [
    "hidden_size",
    "2 × hidden_size",
    "depths[0]",
    "heads × hidden_size",
    "hidden_size + 2",
    "hidden_size / heads",
    "(hidden_size / heads)² + 1",
    "heads²",
    "mlp_ratio × hidden_size",
    "1",
    "3",
    "7",
    "9,999",
]
products = st.lists(st.sampled_from(FORMULAS), min_size=1, max_size=4)


def value(formula):
    return work_out(parse(formula), VALUES.__getitem__)


def written(*formulas_of_terms, name=str):
    return show_terms(collect(term_of(formulas) for formulas in formulas_of_terms), name)


@given(st.lists(products, min_size=1, max_size=6))
def test_collecting_keeps_the_value(sums):
    expected = sum(prod(value(formula) for formula in product) for product in sums)
    terms = collect(term_of(product) for product in sums)
    assert value(show_terms(terms)) == expected
    assert value_of_terms(terms, VALUES.__getitem__) == expected


@given(st.lists(products, min_size=1, max_size=6))
def test_the_formula_in_numbers_has_the_same_value(sums):
    in_names = written(*sums)
    in_numbers = written(*sums, name=lambda name: number(VALUES[name]))
    assert work_out(parse(in_numbers), {}.__getitem__) == value(in_names)


@given(st.lists(products, min_size=1, max_size=6))
def test_no_two_terms_are_alike(sums):
    kinds = [term.kind for term in collect(term_of(product) for product in sums)]
    assert len(set(kinds)) == len(kinds)


def test_berts_attention():
    square, bias = ["hidden_size", "hidden_size"], ["hidden_size"]
    assert written(*[square, bias] * 4) == "4 × (hidden_size × hidden_size + hidden_size)"


def test_terms_of_more_factors_come_first():
    assert written(["b"], ["a", "b"], ["b", "a"]) == "2 × a × b + b"


def test_numbers_within_a_dimension_are_counted_a_kernel_is_not():
    assert written(["2 × a", "4 × a"]) == "8 × a × a"
    assert written(["a", "7", "7"]) == "a × 7 × 7"
    assert written(["a", "1", "3"]) == "3 × a"


def test_what_is_rounded_down_stays_whole():
    assert written(["a", "b / c"], ["b / c"]) == "a × (b / c) + (b / c)"


def test_nothing():
    assert show_terms([]) == "0"
