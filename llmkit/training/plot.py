"""``loss.png``: the training loss, its running mean, and the loss on the validation set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmkit.data.atomic import explained_write
from llmkit.data.pictures import new_figure, picture_bytes


def draw_loss(losses: Sequence[tuple[int, float]], evaluations: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the losses of a run.

    Args:
        losses: step and loss of every step.
        evaluations: lines of the log that have an `eval_loss`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(8, 4.5, "loss.png")
    axes = figure.add_subplot()
    steps = [step for step, _ in losses]
    axes.plot(steps, [loss for _, loss in losses], color="#9ecae1", linewidth=0.8, label="each step")
    axes.plot(steps, _running_means([loss for _, loss in losses]), color="#08519c", label="running mean")
    if evaluations:
        judged = [(line["step"], line["eval_loss"]) for line in evaluations]
        axes.plot(*zip(*judged, strict=True), "o-", color="#d94801", markersize=4, label="validation")
    axes.set(xlabel="step", ylabel="loss")
    axes.grid(alpha=0.3)
    axes.legend()
    drawn = picture_bytes(figure, path)
    with explained_write(path):
        path.write_bytes(drawn)


def _running_means(values: Sequence[float]) -> list[float]:
    """Return means over a twentieth of the steps before each."""
    width = max(1, len(values) // 20)
    return [sum(values[max(0, end - width) : end]) / min(width, end) for end in range(1, len(values) + 1)]
