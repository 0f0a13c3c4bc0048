"""The compute-optimal pair of parameters and tokens for some FLOPs, by two of the three approaches of Hoffmann et al.

Approach 1 fits the lowest loss of training curves: parameters and tokens grow alike, as C^0.50 (table 2). Its table 3
gives the pairs themselves. Approach 3 fits a formula of the loss; its published constants are rounded so that they
give another frontier, and Besiroglu et al. (2024) fitted them again from the paper's own points.
"""

from __future__ import annotations

import math

from llmkit.figures import Figure, Span, figure
from llmkit.units import Amount

APPROACH_1 = "Hoffmann et al. 2022 (Chinchilla), arXiv 2203.15556, approach 1, tables 2 and 3"
APPROACH_3 = (
    "Hoffmann et al. 2022 (Chinchilla), arXiv 2203.15556, approach 3, with the constants of "
    "Besiroglu et al. 2024, arXiv 2404.10102: A 482.01, B 2085.43, alpha 0.3478, beta 0.3658"
)
# Tokens a parameter of table 3: at 10 billion parameters, the least of its rows, and the most.
TOKENS_A_PARAMETER = Span(205.1 / 10, 8.0 / 0.4, 1500 / 67)
_A, _B, _ALPHA, _BETA = 482.01, 2085.43, 0.3478, 0.3658


def optimal_figures(flops: Span) -> list[Figure]:
    """Return the pair for some FLOPs, by approach 1 with its bounds, then by approach 3."""
    ratio = TOKENS_A_PARAMETER
    parameters = Span(
        *(
            math.sqrt(c / 6 / r)
            for c, r in zip(_each(flops), (ratio.middle, ratio.high, ratio.low), strict=True)
        )
    )
    tokens = Span(*(math.sqrt(c * r / 6) for c, r in zip(_each(flops), _each(ratio), strict=True)))
    shown = f"{Amount(flops.middle, 'FLOPs')}, {Amount(ratio.middle, 'tokens/parameter')}"
    parametric = flops.map(parametric_parameters)
    return [
        figure(
            "optimal_parameters", "compute-optimal model", parameters, "parameters",
            formula="√(FLOPs / 6 / tokens a parameter)", numbers=shown, source=APPROACH_1,
        ),
        figure(
            "optimal_tokens", "… and its tokens", tokens, "tokens",
            formula="√(FLOPs × tokens a parameter / 6)", numbers=shown, source=APPROACH_1,
        ),
        figure(
            "optimal_parameters_parametric", "compute-optimal model, by approach 3", parametric, "parameters",
            formula="(α·A / β·B)^(1/(α+β)) × (FLOPs / 6)^(β/(α+β))",
            numbers=f"{Amount(flops.middle, 'FLOPs')}", source=APPROACH_3,
        ),
        figure(
            "optimal_tokens_parametric", "… and its tokens, by approach 3", flops.map(_parametric_tokens), "tokens",
            formula="FLOPs / 6 / parameters", numbers=f"{Amount(flops.middle, 'FLOPs')}", source=APPROACH_3,
        ),
    ]  # fmt: skip


def _each(span: Span) -> tuple[float, float, float]:
    return span.middle, span.low, span.high


def parametric_parameters(flops: float) -> float:
    """Return the parameters at which the fitted loss E + A/N^α + B/D^β is least, with 6·N·D the FLOPs."""
    total = _ALPHA + _BETA
    return (_ALPHA * _A / (_BETA * _B)) ** (1 / total) * (flops / 6) ** (_BETA / total)


def _parametric_tokens(flops: float) -> float:
    return flops / 6 / parametric_parameters(flops)
