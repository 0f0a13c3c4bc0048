"""Judging a model on a set of examples: each example once, whatever the devices; no logits are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.batching import plan_batches
from llmkit.training.examples import Examples
from llmkit.training.fitting import is_out_of_memory
from llmkit.training.objectives.base import Draw, Objective

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

_EVALUATION_EPOCH = (1 << 20) - 1  # masking is the same at every evaluation


@dataclass(frozen=True, slots=True)
class Judged:
    """What a model did on a set.

    Attributes:
        loss: the mean over the targets.
        predictions, references: of each example, in the set's order; of each row where `Objective.settle`
            put the parts of rows together.
    """

    loss: float
    predictions: list[Any]
    references: list[Any]


def judge(
    model: Any,
    objective: Objective,
    examples: Examples,
    accelerator: Accelerator,
    *,
    max_tokens: int,
    max_rows: int,
    seed: int,
) -> Judged:
    """Run a model over a set of examples, each on one device."""
    import torch

    was_training = model.training
    model.eval()
    mine = range(accelerator.process_index, len(examples), accelerator.num_processes)
    lengths = [examples.lengths[number] for number in mine]
    total = targets = torch.zeros((), dtype=torch.float64)
    found: list[tuple[int, Any, Any]] = []
    plans = plan_batches(lengths, max_tokens=max_tokens, max_rows=max_rows)[::-1]
    with torch.inference_mode():
        while plans:
            rows = [mine[index] for index in plans[-1]]
            draws = [Draw(seed, _EVALUATION_EPOCH, row) for row in rows]
            batch = objective.collate(examples.take(rows), draws).to(accelerator.device)
            try:
                loss, predictions, references = objective.judge(model, batch)
            except (RuntimeError, MemoryError) as error:
                if len(rows) == 1 or not is_out_of_memory(error):
                    raise
                plan = plans.pop()
                plans += [plan[len(plan) // 2 :], plan[: len(plan) // 2]]
                continue
            plans.pop()
            total = total + loss.double().cpu()
            targets = targets + torch.tensor(batch.targets, dtype=torch.float64)
            found += zip(rows, predictions, references, strict=True)
    model.train(was_training)
    return objective.settle(_gathered(total, targets, found, accelerator))


def _gathered(
    total: torch.Tensor,
    targets: torch.Tensor,
    found: Sequence[tuple[int, Any, Any]],
    accelerator: Accelerator,
) -> Judged:
    """Put the devices' findings together; the sum of losses and the number of targets are (), or (parts,)."""
    import torch

    parts = [(total, targets, list(found))]
    if accelerator.num_processes > 1:
        from accelerate.utils import gather_object

        parts = gather_object(parts)
    zero = torch.zeros((), dtype=torch.float64)
    mean = sum((part[0] for part in parts), start=zero) / sum((part[1] for part in parts), start=zero)
    everything = sorted((each for part in parts for each in part[2]), key=lambda each: each[0])
    return Judged(
        float(mean.sum()),
        [prediction for _, prediction, _ in everything],
        [reference for _, _, reference in everything],
    )
