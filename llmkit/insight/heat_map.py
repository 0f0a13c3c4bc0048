"""Weights of attention as a heat map in a file: a panel a head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmkit.data.pictures import drawn_text, new_figure, picture_bytes
from llmkit.errors import UsageError
from llmkit.insight.attention import MEAN, AttentionWeights

MOST_PANELS = 144
_MOST_LABELS = 64
_MOST_NUMBERS = 16


def drawn_weights(kinds: Sequence[AttentionWeights], model: str, path: Path) -> bytes:
    """Return a picture of the weights, in the format that a path's ending says.

    Raises:
        UsageError: they are too many for one picture.
        MissingExtraError: matplotlib is not installed.
    """
    panels = [
        (each, layer, head)
        for each in kinds
        for layer in range(len(each.layers))
        for head in range(len(each.heads))
    ]
    if len(panels) > MOST_PANELS:
        raise UsageError(
            f"--plot would have {len(panels):,} panels; at most {MOST_PANELS} fit a picture.",
            hint="Choose some: --layer 1,2 --head 3, or --head mean.",
        )
    columns = min(len(panels), max(len(each.heads) for each in kinds), 12)
    columns = len(panels) if len(panels) <= 3 else columns
    rows = -(-len(panels) // columns)
    longest = max(max(len(each.queries), len(each.keys)) for each in kinds)
    size = min(max(2.0 + 0.32 * longest, 4.0), 12.0) if len(panels) <= 3 else 2.4
    figure = new_figure(size * columns, size * rows)
    for number, (found, layer, head) in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, number)
        _draw_panel(axes, found, layer, head, is_small=len(panels) > 3)
    figure.suptitle(drawn_text(f"{model}: what each token (down) attends to (across)"), fontsize=10)
    return picture_bytes(figure, path)


def _draw_panel(axes: Any, found: AttentionWeights, layer: int, head: int, *, is_small: bool) -> None:
    weights = found.weights[layer, head]
    axes.imshow(weights, cmap="Blues", vmin=0, vmax=1)
    name = "mean over heads" if found.heads[head] == MEAN else f"head {found.heads[head]}"
    axes.set_title(f"{found.kind}, layer {found.layers[layer]}, {name}", fontsize=7 if is_small else 9)
    if is_small or max(weights.shape) > _MOST_LABELS:
        axes.set(xticks=[], yticks=[])
        return
    axes.set_xticks(range(len(found.keys)), [drawn_text(each) for each in found.keys.labels], rotation=90)
    axes.set_yticks(range(len(found.queries)), [drawn_text(each) for each in found.queries.labels])
    axes.tick_params(labelsize=8)
    if max(weights.shape) <= _MOST_NUMBERS:
        for (row, column), value in zip(_cells(weights.shape), weights.flatten().tolist(), strict=True):
            color = "white" if value > 0.5 else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=6, color=color)


def _cells(shape: tuple[int, int]) -> list[tuple[int, int]]:
    return [(row, column) for row in range(shape[0]) for column in range(shape[1])]
