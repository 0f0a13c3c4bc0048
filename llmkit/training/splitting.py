"""Putting a share of the training rows aside for validation: drawn at random, of each label the same share."""

from __future__ import annotations

import random
from array import array
from typing import TYPE_CHECKING

from llmkit.errors import UsageError
from llmkit.training.examples import Examples

if TYPE_CHECKING:
    import torch


def split_off(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """Return the training and the validation part; the examples that a row was cut into stay together.

    A few bytes an example are in memory, however long the examples are.

    Raises:
        UsageError: one of the two would have nothing in it.
    """
    import torch

    begins, groups = _rows(examples)
    is_aside = torch.zeros(len(begins), dtype=torch.bool)
    generator = random.Random(seed)
    for _, rows in sorted(groups.items()):
        generator.shuffle(rows)
        count = round(len(rows) * share) or (1 if len(rows) > 1 else 0)
        is_aside[torch.frombuffer(rows, dtype=torch.int64)[:count]] = True
    kept, aside = (_examples_of(begins, len(examples), mask) for mask in (~is_aside, is_aside))
    if not len(kept) or not len(aside):
        raise UsageError(
            f"data.validation: {share} of {len(examples)} rows leaves nothing to learn from or to judge by.",
            hint="Give a file for data.validation, or more rows.",
        )
    return examples.subset(kept), examples.subset(aside)


def _rows(examples: Examples) -> tuple[array[int], dict[str, array[int]]]:
    """Return the first example of each row, and the rows of each label; one label for all where it is no class."""
    has_label = "label" in examples.table.column_names
    labels = examples.column("label") if has_label else iter(lambda: None, 0)
    begins: array[int] = array("q")
    groups: dict[str, array[int]] = {}
    before = None
    for number, (place, label) in enumerate(zip(examples.column("place"), labels, strict=False)):
        if place == before:
            continue
        before = place
        group = "" if label is None or isinstance(label, float | list) else str(label)
        groups.setdefault(group, array("q")).append(len(begins))
        begins.append(number)
    return begins, groups


def _examples_of(begins: array[int], size: int, mask: torch.Tensor) -> array[int]:
    """Return the numbers of the examples of the rows in a mask (rows,)."""
    import torch

    starts = torch.frombuffer(begins, dtype=torch.int64)
    lengths = torch.cat([starts[1:], torch.tensor([size])]) - starts
    inside = torch.repeat_interleave(mask, lengths).nonzero().squeeze(1)
    return array("q", inside.numpy().tobytes())
