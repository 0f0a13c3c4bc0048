"""How sure a result is: bootstrap confidence intervals of any metric."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from llmkit.wanted import should_be

if TYPE_CHECKING:
    from llmkit.metrics.metric import StreamedMetric


MOST_RESAMPLES = 1_000_000
"""An interval is no better for more of them."""


class Interval(NamedTuple):
    """A result and where it would lie on other examples of the same kind.

    `undefined` is how many resamples had no result (NaN) and were left out.
    """

    value: float
    low: float
    high: float
    undefined: int


def confidence_interval(
    metric: str | StreamedMetric,
    predictions: Any,
    references: Any,
    *,
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Return the percentile bootstrap interval of each number of a metric's result.

    Examples are drawn with replacement, as many as there are, `n` times; the interval holds the middle `level` of
    the results (Efron 1979, https://doi.org/10.1214/aos/1176344552). Each example is counted or scored once,
    and a resample combines its statistics; a metric of the hub is computed anew for each.

    Args:
        metric: a name, or a metric for its options; nothing is added to it.
        predictions: one an example, as for the metric's `update`.
        references: the same length.
        n: how many resamples, at most `MOST_RESAMPLES`.
        seed: the same seed gives the same interval.
        level: between 0 and 1.

    Returns:
        By the result's key. NaN for a result that is not defined, and for no examples.

    Raises:
        UsageError: `n` or `level` is out of range, or there is no such metric.
        DataError: the examples do not fit the metric.
    """
    import numpy as np

    if not 1 <= n <= MOST_RESAMPLES:
        raise should_be(f"the number of resamples is {n}", f"from 1 to {MOST_RESAMPLES:,}")
    if not 0 < level < 1:
        raise should_be(f"the confidence level is {level}", "between 0 and 1")
    if isinstance(metric, str):
        from llmkit.metrics.registry import load_metric

        metric = load_metric(metric)
    count, result_at = metric.resampled(predictions, references)
    if not count:
        return {key: Interval(math.nan, math.nan, math.nan, n) for key in metric.result_keys}
    generator = np.random.default_rng(seed)
    whole = result_at(np.arange(count))
    results = np.empty((len(whole), n))  # a few numbers a resample, and not an object
    for number in range(n):
        resampled = result_at(generator.integers(count, size=count))
        results[:, number] = [resampled.get(key, math.nan) for key in whole]
    tails = [50 * (1 - level), 50 * (1 + level)]
    intervals = {}
    for (key, value), found in zip(whole.items(), results, strict=True):
        defined = found[~np.isnan(found)]
        low, high = np.percentile(defined, tails) if len(defined) else (math.nan, math.nan)
        intervals[key] = Interval(value, float(low), float(high), n - len(defined))
    return intervals
