"""Figures: bounds that go with the number through every formula, and the one unit of all three."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmkit.figures import Span, figure

numbers = st.floats(min_value=1e-3, max_value=1e6)
spans = (
    st.lists(numbers, min_size=3, max_size=3).map(sorted).map(lambda each: Span(each[1], each[0], each[2]))
)


@given(spans, spans)
def test_bounds_stay_around_the_middle(one, other):
    for found in (one * other, one / other, one * 2.0, one / 2.0, one.map(lambda value: value**0.5)):
        assert found.low <= found.middle * (1 + 1e-12) and found.middle <= found.high * (1 + 1e-12)


@given(numbers, numbers)
def test_what_is_known_stays_known(one, other):
    product, quotient = Span.exact(one) * other, Span.exact(one) / Span.exact(other)
    assert product.is_exact and quotient.is_exact
    assert (product.middle, quotient.middle) == (one * other, one / other)


def test_bounds_are_there_only_where_something_is_uncertain():
    known = figure("a", "a", Span.exact(2), "tokens", formula="1 + 1").to_json()
    assert "low" not in known and (known["value"], known["unit"]) == (2, "tokens")
    uncertain = figure("a", "a", Span(2, 1, 3), "tokens", formula="?").to_json()
    assert (uncertain["low"], uncertain["value"], uncertain["high"], uncertain["unit"]) == (1, 2, 3, "tokens")
