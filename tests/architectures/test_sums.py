"""Sums of products: found where they are, and never where the models prove nothing."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from llmkit.architectures.algebra import parse, work_out
from llmkit.architectures.forms import Pool
from llmkit.architectures.sums import fit, sums_of

sizes = st.integers(1, 5000)
factors = st.sampled_from([Fraction(1), Fraction(2), Fraction(3), Fraction(-1), Fraction(1, 2)])


@given(st.lists(st.tuples(sizes, sizes), min_size=4, max_size=6, unique=True), factors, factors)
def test_factors_are_found_again(rows, one, other):
    left, right = zip(*rows, strict=True)
    size = tuple(one * a + other * b for a, b in rows)
    fitted = fit([left, right], size)
    assume(fitted is not None)  # None: the rows do not tell the columns apart
    assert fitted == (one, other)


@given(st.lists(st.tuples(sizes, sizes), min_size=2, max_size=5))
def test_factors_that_are_found_hold_everywhere(rows):
    left, size = zip(*rows, strict=True)
    fitted = fit([left], size)
    assert fitted is None or all(fitted[0] * a == b for a, b in rows)


def test_as_many_models_as_factors_prove_nothing():
    assert fit([(2, 3), (5, 7)], (9, 13)) is None
    assert fit([(2, 3, 4), (5, 7, 10)], (9, 13, 18)) == (Fraction(2), Fraction(1))


@pytest.mark.parametrize(
    ("formula", "names"),
    [
        ("n_embd + 2 × n_embd / n_head", ("n_embd", "n_head")),
        ("hidden + 2 × hidden / heads × kv", ("hidden", "heads", "kv")),
        ("2 × a × b + 2 × c × d + e", ("a", "b", "c", "d", "e")),
    ],
)
def test_fused_projections(formula, names):
    models = [
        (96, 12, 5, 7, 11),
        (192, 12, 5, 7, 11),
        (96, 24, 5, 7, 11),
        (96, 12, 10, 7, 11),
        (96, 12, 5, 21, 11),
        (96, 12, 5, 7, 44),
        (480, 24, 20, 14, 33),
    ]
    pool_of = [dict(zip(names, model, strict=False)) for model in models]
    size = tuple(int(work_out(parse(formula), values.__getitem__)) for values in pool_of)
    values = {name: tuple(each[name] for each in pool_of) for name in names}
    found = sums_of(Pool(values, size))
    assert found is not None
    assert [work_out(parse(found), each.__getitem__) for each in pool_of] == list(size)
    new = dict(zip(names, (1152, 8, 3, 13, 17), strict=False))
    assert work_out(parse(found), new.__getitem__) == work_out(parse(formula), new.__getitem__)


def test_no_sum_of_too_many_names():
    assert sums_of(Pool({}, (1, 2, 3))) is None
    assert sums_of(Pool({"a": (1, 2, 4, 8)}, (1, 3, 5, 100))) is None
