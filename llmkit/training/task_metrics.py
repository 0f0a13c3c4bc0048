"""A task and its metrics: which of them take what the task gives, and their results of what a model did."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmkit.errors import UsageError
from llmkit.metrics import find_metric, load_metric
from llmkit.metrics.registry import KINDS, names_of_kinds

if TYPE_CHECKING:
    from llmkit.metrics.metric import Result, StreamedMetric
    from llmkit.training.evaluation import Judged
    from llmkit.training.objectives.base import Objective


def misfit(name: str, task: str, gives: Collection[str]) -> UsageError | None:
    """Return the error for a metric that takes something else than a task gives; None where it does not.

    Args:
        gives: kinds, as `MetricEntry.examples`; none of a task that does not say. A metric of a kind that is not
            known here, of another package or of the hub, may take anything.

    Raises:
        UsageError: there is no such metric.
    """
    takes = find_metric(name).examples
    if not gives or takes in gives or takes not in KINDS:
        return None
    return _refused(
        name,
        task,
        f"it takes {takes}, and there are {' or '.join(gives)}.",
        f"Those that fit: {', '.join(names_of_kinds(gives))}.",
    )


def metrics_of(objective: Objective) -> Sequence[str]:
    """Return the names of the metrics that a model is judged by: those of the config, else the task's."""
    return objective.config.metrics or objective.metrics_for()


def check_metrics(objective: Objective) -> None:
    """Find out before the model is judged that a metric is misspelt, not installed, or not for what the rows have.

    Raises:
        UsageError: there is no such metric, or it takes something else.
        MissingExtraError, HubError: it cannot be had.
    """
    for name in metrics_of(objective):
        metric = load_metric(name)
        error = misfit(name, objective.task, objective.gives_here())
        if error is not None:
            raise error
        classes = list(objective.each_class())
        if classes and find_metric(name).examples == "classes":
            with _said_of(name, objective):
                metric.update(classes, classes)
                metric.compute()


def results_of(objective: Objective, judged: Judged) -> Iterator[tuple[str, Result, StreamedMetric, Judged]]:
    """Go through the metrics' names with the result of each, the metric behind it, and what it took.

    Raises:
        UsageError: a metric cannot take it.
    """
    for name in metrics_of(objective):
        metric = load_metric(name)
        given = objective.for_metric(find_metric(name).examples, judged)
        with _said_of(name, objective):
            metric.update(given.predictions, given.references)
            result = metric.compute()
        yield name, result, metric, given


def notes_of(name: str, metric: StreamedMetric) -> list[str]:
    """Return what is to be said of a metric's result, with its name: why it is NaN, what was left out."""
    return [f"{name}: {note}" for note in metric.notes()]


@contextmanager
def _said_of(name: str, objective: Objective) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        own = f"The task's own metrics are: {', '.join(objective.metrics_for())}."
        raise _refused(name, objective.task, error.message, own) from None


def _refused(name: str, task: str, reason: str, hint: str) -> UsageError:
    return UsageError(f"the metric {name} does not fit {task}: {reason}", hint=hint)
