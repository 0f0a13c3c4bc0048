"""Turned round: the FLOPs that a budget of money, device hours or FLOPs buys, and what can be trained with them."""

from __future__ import annotations

from llmkit.architectures.count import ModelCount
from llmkit.costs.choice import Choice
from llmkit.costs.estimate import Estimate, Speed, bills, hours_figure, notes_of, notes_of_model, speed_of
from llmkit.costs.flops import SIX_SOURCE, TokenFlops, token_flops
from llmkit.costs.optimal import optimal_figures
from llmkit.errors import UsageError
from llmkit.figures import Figure, Span, figure
from llmkit.units import Amount


def within_budget(count: ModelCount | None, choice: Choice) -> Estimate:
    """Return what a budget buys: tokens for a model, or the size of a model for tokens, and the optimal pair.

    Raises:
        UsageError: what the budget is of needs a device or a price; a model and tokens were both named.
    """
    assert choice.budget is not None
    if count is not None and choice.tokens is not None:
        raise UsageError(
            f"--budget with {count.label} asks how many tokens fit, and --tokens says it.",
            hint="Leave out --budget for what the run takes, --tokens for how many fit, or the model for its size.",
        )
    if count is None and choice.recompute != "none":
        raise UsageError("--recompute is of a model's layers: name the model.")
    speed = speed_of(choice)
    each = None if count is None else token_flops(count, choice.sequence_length, choice.recompute)
    flops, hours, found = _bought(choice, speed, each)
    found += _what_fits(count, choice, flops, each)
    if hours is not None and speed is not None:
        found += bills(hours, speed.accelerator, choice)
    notes = notes_of(speed.accelerator) if speed is not None else []
    if count is not None and each is not None:
        notes += notes_of_model(count, choice, each.sequence_length)
    label = f"{choice.budget} for {count.label}" if count is not None else f"{choice.budget}"
    return Estimate(label, (*found, *optimal_figures(flops)), tuple(notes))


def _bought(
    choice: Choice, speed: Speed | None, each: TokenFlops | None
) -> tuple[Span, Span | None, list[Figure]]:
    """Return the model's FLOPs that fit the budget, the device hours, and the figures that lead to both.

    Without a device the hours are None.
    """
    assert choice.budget is not None
    if choice.budget.unit == "FLOPs":
        flops = Span.exact(choice.budget.of("FLOPs"))
        given = figure(
            "training_flops", "training FLOPs", flops, "FLOPs", formula="as given", source="--budget"
        )
        if speed is None:
            return flops, None, [given]
        computed = flops / _share(speed, each)
        hours = computed / (speed.flops * 3600)
        return flops, hours, [given, hours_figure(hours, speed, Amount(computed.middle, "FLOPs"))]
    hours = _hours(choice, speed)
    assert speed is not None
    share = _share(speed, each)
    flops = hours * 3600 * speed.flops * share
    reason = "" if share == 1 else " × the share that is not computed again"
    return (
        flops,
        hours,
        [
            figure(
                "training_flops",
                "training FLOPs, with attention",
                flops,
                "FLOPs",
                formula=f"device hours × 3600 s × peak × utilization{reason}",
                numbers=f"{Amount(hours.middle, 'device hours')} × 3600 s × {speed.peak} × {speed.utilization.amount}"
                + ("" if share == 1 else f" × {share:.3g}"),
                source=f"{speed.accelerator.source}; {speed.utilization.source}",
            ),
            *([_paid(choice, hours)] if choice.budget.unit == "USD" else []),
        ],
    )


def _share(speed: Speed, each: TokenFlops | None) -> float:
    """Return the share of what a device computes that is the model's own: the rest is computed twice."""
    return 1.0 if each is None else each.with_attention / speed.counted(each)


def _hours(choice: Choice, speed: Speed | None) -> Span:
    """Return the device hours that are paid for."""
    budget = choice.budget
    assert budget is not None
    if speed is None:
        raise UsageError(f"--budget {budget}: on which device?", hint="Name it: --gpu h100.")
    if budget.unit == "device hours":
        return Span.exact(budget.value)
    if choice.price is None:
        raise UsageError(
            f"--budget {budget}: what does an hour of a device cost?", hint="Say it: --price 2.5usd/h."
        )
    return Span.exact(budget.of("USD") / choice.price.of("USD/device hour"))


def _paid(choice: Choice, hours: Span) -> Figure:
    return figure(
        "device_hours",
        "device hours",
        hours,
        "device hours",
        formula="budget / price",
        numbers=f"{choice.budget} / {choice.price}",
    )


def _what_fits(
    count: ModelCount | None, choice: Choice, flops: Span, each: TokenFlops | None
) -> list[Figure]:
    if count is not None and each is not None:
        return [
            figure(
                "tokens",
                f"tokens that {count.label} can see",
                flops / each.with_attention,
                "tokens",
                formula="training FLOPs / FLOPs a token, with attention",
                numbers=f"{Amount(flops.middle, 'FLOPs')} / {Amount(each.with_attention, 'FLOPs')}",
                source=SIX_SOURCE,
            )
        ]
    if choice.tokens is None:
        return []
    return [
        figure(
            "parameters",
            f"parameters of a model that sees {choice.tokens}",
            flops / (6 * choice.tokens.of("tokens")),
            "parameters",
            formula="training FLOPs / (6 × tokens)",
            numbers=f"{Amount(flops.middle, 'FLOPs')} / (6 × {choice.tokens})",
            source=SIX_SOURCE,
        )
    ]
