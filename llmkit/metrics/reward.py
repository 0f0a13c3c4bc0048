"""Rewards of preferred answers against those of rejected ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmkit.metrics.inputs import as_numbers
from llmkit.metrics.metric import Result
from llmkit.metrics.summed import SummedMetric, Totals


class Reward(SummedMetric):
    """How often the chosen answer has the higher reward, and by how much on average (Rafailov et al. 2023).

    A prediction is the reward of the chosen answer, a reference that of the rejected one. Equal rewards are wrong.
    """

    result_keys = ("reward_accuracy", "reward_margin")

    def statistics(self, predictions: Any, references: Any) -> Iterable[Totals]:
        for chosen, rejected in as_numbers(predictions, references).tolist():
            yield {"right": int(chosen > rejected), "margin": chosen - rejected}

    def result(self, totals: Totals, examples: int) -> Result:
        return {
            "reward_accuracy": totals["right"] / examples,
            "reward_margin": totals["margin"] / examples,
        }
