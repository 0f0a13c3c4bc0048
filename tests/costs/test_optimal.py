"""The compute-optimal pair: the paper's own table for approach 1, a search along the isoFLOP line for approach 3."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from llmkit.costs.optimal import optimal_figures, parametric_parameters
from llmkit.figures import Span


@pytest.mark.parametrize(
    ("flops", "parameters", "tokens"),
    [  # Hoffmann et al. 2022, table 3
        (1.92e19, 400e6, 8.0e9),
        (1.21e20, 1e9, 20.2e9),
        (1.23e22, 10e9, 205.1e9),
        (5.76e23, 67e9, 1.5e12),
        (3.85e24, 175e9, 3.7e12),
        (9.90e24, 280e9, 5.9e12),
        (3.43e25, 520e9, 11.0e12),
        (1.27e26, 1e12, 21.2e12),
    ],
)
def test_approach_1_is_the_papers_table(flops, parameters, tokens):
    found = {each.key: each for each in optimal_figures(Span.exact(flops))}
    assert found["optimal_parameters"].amount.of("parameters") == pytest.approx(parameters, rel=0.05)
    assert found["optimal_tokens"].amount.of("tokens") == pytest.approx(tokens, rel=0.07)


@given(st.floats(min_value=1e18, max_value=1e27))
def test_the_pair_takes_the_flops(flops):
    found = {each.key: each.amount.value for each in optimal_figures(Span.exact(flops))}
    for ending in ("", "_parametric"):
        product = 6 * found[f"optimal_parameters{ending}"] * found[f"optimal_tokens{ending}"]
        assert product == pytest.approx(flops)


@pytest.mark.parametrize("flops", [1e20, 5.76e23, 1e26])
def test_approach_3_is_where_the_fitted_loss_is_least(flops):
    def loss(exponent):
        parameters = 10**exponent
        return 482.01 / parameters**0.3478 + 2085.43 / (flops / 6 / parameters) ** 0.3658

    best = minimize_scalar(loss, bounds=(6, 14), method="bounded", options={"xatol": 1e-9})
    assert parametric_parameters(flops) == pytest.approx(10**best.x, rel=1e-3)


def test_bounds_are_around_the_middle():
    for each in optimal_figures(Span(2e21, 1e21, 3e21)):
        assert each.low.value < each.amount.value < each.high.value
