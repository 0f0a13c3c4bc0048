"""Quotients: what is rounded down is shown so, and what would be 0 is none."""

from __future__ import annotations

import re

import pytest

from llmkit.architectures.algebra import parse, work_out
from llmkit.architectures.count import count_parameters
from llmkit.architectures.forms import FORMS, Pool

_WHOLE = re.compile(r"\d[\d,]*")


def exactly(numbers: str) -> float:
    """The value with true division, by Python's own arithmetic."""
    python = _WHOLE.sub(lambda found: found[0].replace(",", ""), numbers)
    for ours, theirs in (("×", "*"), ("−", "-"), ("²", "**2"), ("⌊", "int("), ("⌋", ")")):
        python = python.replace(ours, theirs)
    return eval(python)


def fitting(pool: Pool) -> set[str]:
    return {candidate.formula for form in FORMS for candidate in form(pool)}


def test_a_quotient_that_is_0_hides_no_constant():
    pool = Pool({"heads": (16, 17, 19, 21), "last": (23, 24, 26, 29)}, (4, 4, 4, 4))
    assert not [formula for formula in fitting(pool) if "heads / last" in formula]


@pytest.mark.parametrize(
    ("image", "size", "formula"),
    [(224, 732, "(2 × (image / patch) − 1)² + 3"), (230, 732, "(2 × ⌊image / patch⌋ − 1)² + 3")],
)
def test_a_table_of_relative_positions(image, size, formula):
    """BEiT's: as far as patches lie apart, to either side in both directions, and three for the class token."""
    pool = Pool({"image": (image, 256, 288, 352), "patch": (16, 16, 32, 64)}, (size, 964, 292, 84))
    assert fitting(pool) == {formula}
    values = {"image": image, "patch": 16}
    assert work_out(parse(formula), values.__getitem__) == size


def test_what_is_rounded_down_is_shown_so():
    pool = Pool({"image": (384, 390, 417), "patch": (14, 13, 15)}, (729, 900, 729))
    assert fitting(pool) == {"⌊image / patch⌋²"}
    exact = Pool({"image": (224, 390, 417), "patch": (16, 13, 15)}, (196, 900, 729))
    assert fitting(exact) == {"(image / patch)²"}


def test_floors_are_worked_out():
    assert work_out(parse("⌊384 / 14⌋² + 1"), {}.__getitem__) == 730


@pytest.mark.parametrize("model", ["sam-vit-base", "sam-vit-large", "siglip-so400m-patch14-384"])
def test_numbers_are_exact_with_true_division(model):
    rows = count_parameters(model).rows
    assert {row.numbers: exactly(row.numbers) for row in rows} == {row.numbers: row.per_layer for row in rows}
