"""Packing: samples of many lengths side by side in rows of one length, and no sample sees another.

Positions begin anew with each sample and attention stays within it, so that a packed sample gives the same loss and
gradient as one alone.
"""

from __future__ import annotations

import inspect
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from llmkit.errors import ModelError
from llmkit.models.side_by_side import are_alike
from llmkit.training.objectives.batch import Example

if TYPE_CHECKING:
    import torch

_WINDOW = 1024
"""Samples that are packed together; enough that rows are full but for a few tokens."""


def pack(samples: Iterable[Example], room: int) -> Iterator[Example]:
    """Put samples into rows of at most `room` tokens, each sample whole (best fit, the longest first).

    Args:
        samples: examples without nested lists; each list is as long as `input_ids`, and at most `room`.

    Returns:
        Examples whose lists are joined, with `lengths` of the samples, and their numbers in the set, `samples`.
    """
    numbered = enumerate(samples)
    while window := list(islice(numbered, _WINDOW)):
        for row in _best_fit([len(sample["input_ids"]) for _, sample in window], room):
            yield _joined([window[index] for index in row])


def _best_fit(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Return rows of indices: each sample goes where it leaves the least room."""
    rows: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (tokens that are free, row), sorted
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        found = bisect_left(free, (lengths[index], -1))
        left, row = free.pop(found) if found < len(free) else (room, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(index)
        insort(free, (left - lengths[index], row))
    return [sorted(row) for row in rows]


def _joined(members: Sequence[tuple[int, Example]]) -> Example:
    first = members[0][1]
    joined: Example = {
        name: [value for _, sample in members for value in sample[name]]
        for name, values in first.items()
        if isinstance(values, list)
    }
    places = list(dict.fromkeys(sample["place"] for _, sample in members))
    shown = ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
    return {
        **joined,
        "lengths": [len(sample["input_ids"]) for _, sample in members],
        "samples": [number for number, _ in members],
        "place": shown,
    }


def position_ids(examples: Sequence[Example], longest: int, first: int = 0) -> torch.Tensor:
    """Return positions (batch, longest) that begin anew with each sample; padding is a sample of its own.

    Args:
        first: the position of a sample's first token.
    """
    import torch

    rows = []
    for example in examples:
        lengths = [*example["lengths"], longest - sum(example["lengths"])]
        rows.append(torch.cat([torch.arange(first, first + length) for length in lengths]))
    return torch.stack(rows)


def within_samples(examples: Sequence[Example], longest: int) -> torch.Tensor:
    """Return a mask (batch, 1, longest, longest), true where query and key are of the same sample."""
    import torch

    rows = []
    for example in examples:
        lengths = [*example["lengths"], longest - sum(example["lengths"])]
        rows.append(torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)))
    numbers = torch.stack(rows)
    return (numbers[:, None, :, None] == numbers[:, None, None, :]).contiguous()


def inner_model(model: Any) -> Any:
    """Return the model inside of what is wrapped around it for several devices."""
    return getattr(model, "module", model)


def plain_forward(model: Any) -> Callable[..., Any]:
    """Return a model's own forward, without the lower precision that accelerate puts around it."""
    inner = inner_model(model)
    forward: Callable[..., Any] = getattr(inner, "_original_forward", inner.forward)
    return forward


def takes_positions(model: Any) -> bool:
    """Tell whether a model can be told the position of each token."""
    return "position_ids" in inspect.signature(plain_forward(model)).parameters


def check_isolation(
    model: Any, packed: Any, alone: Sequence[Any], task: str, *, in_run_precision: bool = False
) -> None:
    """Check on real samples that a model computes the same for them side by side as for each alone.

    What a model does with positions and masks is told by no name or version: recurrent and sliding layers take
    other ways. So it is tried.

    Args:
        packed: inputs of one row of samples; `alone`: inputs of each of them.
        in_run_precision: with the lower precision that accelerate puts around the forward.

    Raises:
        ModelError: one sample sees another.
    """
    import torch

    inner = inner_model(model)
    forward = inner.forward if in_run_precision else plain_forward(model)
    was_training = inner.training
    inner.eval()
    with torch.no_grad():
        found = forward(**packed).logits[0]
        wanted = torch.cat([forward(**inputs).logits[0] for inputs in alone])
    inner.train(was_training)
    is_exact = found.dtype == torch.float32 and not in_run_precision
    if not are_alike(found[: len(wanted)], wanted, is_exact=is_exact):
        raise ModelError(
            f"{task}: in this model a packed sample sees the ones beside it.",
            hint="Take training.batching: sorted, which pads little.",
        )
