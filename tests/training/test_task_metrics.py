"""Which metrics fit a task: by the kind of what they take."""

from __future__ import annotations

import pytest

from llmkit.metrics import find_metric
from llmkit.metrics.registry import KINDS, MetricEntry
from llmkit.training import task_metrics
from llmkit.training.objectives import OBJECTIVES, objective_class
from llmkit.training.task_metrics import misfit


@pytest.mark.parametrize("task", OBJECTIVES)
def test_a_tasks_own_metrics_fit(task: str) -> None:
    objective = objective_class(task)
    assert objective.gives and set(objective.gives) <= KINDS
    assert [misfit(name, task, objective.gives) for name in objective.metrics] == [None] * len(
        objective.metrics
    )


@pytest.mark.parametrize(
    ("kind", "gives", "fits"),
    [
        ("texts", ("texts",), True),
        ("texts", ("classes",), False),
        ("whatever it takes", ("classes",), True),
        ("", ("classes",), True),
        ("texts", (), True),
    ],
)
def test_a_metric_of_another_package(
    kind: str, gives: tuple[str, ...], fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = MetricEntry("same_length", "a:B", kind, "same_length", True, "x")
    monkeypatch.setattr(task_metrics, "find_metric", lambda name: row)
    assert (misfit("same_length", "t", gives) is None) == fits


def test_one_of_the_hub_may_take_anything() -> None:
    assert find_metric("hub:wer").examples not in KINDS
    assert misfit("hub:wer", "text-classification", ("classes",)) is None
