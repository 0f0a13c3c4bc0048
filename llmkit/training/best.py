"""Which figure of an evaluation says which model is the best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from llmkit.errors import UsageError, unknown
from llmkit.metrics import find_metric, more_is_better
from llmkit.training.objectives.base import Objective

if TYPE_CHECKING:
    from llmkit.training.config import FinetuneConfig


def best_by(config: FinetuneConfig, objective: Objective, figures: Mapping[str, float]) -> tuple[str, int]:
    """Return the figure that the best model is chosen by, and 1 if more is better, else -1.

    Args:
        figures: of an evaluation: ``{"eval_loss": 0.3, "eval_accuracy": 0.9}``.

    Raises:
        UsageError: the evaluation has no such figure.
    """
    own = objective.metrics_for()[0]
    metrics = config.metrics or objective.metrics_for()
    main = own if own in metrics else metrics[0]
    wanted = (config.training.best_metric or main).removeprefix("eval_")
    if wanted == "loss":
        return "eval_loss", -1
    main_keys = {name: find_metric(name).main_key for name in metrics}
    found = f"eval_{main_keys.get(wanted, wanted)}"
    if found not in figures:
        known = [name.removeprefix("eval_") for name in figures]
        error = unknown("figure", wanted, known)
        raise UsageError(f"training.best_metric: {error.message}", hint=error.hint)
    of_wanted = next((name for name in metrics if wanted in (name, main_keys[name])), wanted)
    return found, 1 if more_is_better(of_wanted) else -1
