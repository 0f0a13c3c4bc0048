"""Judging a model on a set of examples: each example once, whatever the devices; no logits are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmkit.batching import plan_batches
from llmkit.models.out_of_memory import is_out_of_memory
from llmkit.training.examples import Examples
from llmkit.training.objectives.base import Objective
from llmkit.training.objectives.batch import Batch, Draw, Example, Verdict
from llmkit.training.sharding import is_sharded, missing_passes, without_gradients

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
        losses, probabilities: of each example, where it was judged closely, as `Verdict` has them.
    """

    loss: float
    predictions: list[Any]
    references: list[Any]
    losses: list[float] = field(default_factory=list)
    probabilities: list[float | None] = field(default_factory=list)


def judge(
    model: Any,
    objective: Objective,
    examples: Examples,
    accelerator: Accelerator,
    *,
    max_tokens: int,
    max_rows: int,
    seed: int,
    closely: bool = False,
    heard: Callable[[int], None] = lambda count: None,
) -> Judged:
    """Run a model over a set of examples, each on one device.

    Args:
        closely: find out the loss of each example, too.
        heard: is told of each batch how many examples it had.
    """
    import torch

    was_training = model.training
    model.eval()
    mine = range(accelerator.process_index, len(examples), accelerator.num_processes)
    lengths = [examples.lengths[number] for number in mine]
    total = targets = torch.zeros((), dtype=torch.float64)
    found: list[tuple[Any, ...]] = []
    plans = plan_batches(lengths, max_tokens=max_tokens, max_rows=max_rows)[::-1]
    idle = missing_passes(model, len(plans), accelerator.device)
    with without_gradients(model):
        while plans:
            rows = [mine[index] for index in plans[-1]]
            draws = [Draw(seed, _EVALUATION_EPOCH, row) for row in rows]
            taken = examples.take(rows)
            batch = objective.collate(taken, draws).to(accelerator.device)
            try:
                verdict, each = _verdict(model, objective, batch, taken, draws, closely=closely)
            except (RuntimeError, MemoryError) as error:
                if len(rows) == 1 or is_sharded(model) or not is_out_of_memory(error):
                    raise
                plan = plans.pop()
                plans += [plan[len(plan) // 2 :], plan[: len(plan) // 2]]
                continue
            plans.pop()
            total = total + verdict.loss.double().cpu()
            targets = targets + torch.tensor(batch.targets, dtype=torch.float64)
            found += zip(rows, verdict.predictions, verdict.references, *each, strict=True)
            heard(len(rows))
        for _ in range(idle):
            objective.judge(
                model, objective.collate(examples.take([0]), [Draw(seed, 0, 0)]).to(accelerator.device)
            )
    model.train(was_training)
    return objective.settle(_gathered(total, targets, found, accelerator))


def _verdict(
    model: Any,
    objective: Objective,
    batch: Batch,
    examples: Sequence[Example],
    draws: Sequence[Draw],
    *,
    closely: bool,
) -> tuple[Verdict, tuple[list[Any], ...]]:
    """Return the verdict on a batch and, looking `closely`, the loss and the probability of each of its examples."""
    if not closely:
        return Verdict(*objective.judge(model, batch)), ()
    verdict = objective.judge_closely(model, batch)
    losses = verdict.losses
    if losses is None:
        losses = [_loss_alone(model, objective, *each, batch) for each in zip(examples, draws, strict=True)]
    return verdict, (losses, verdict.probabilities or [None] * len(losses))


def _loss_alone(model: Any, objective: Objective, example: Example, draw: Draw, batch: Batch) -> float:
    """Return the mean loss of an example's targets, for a task that does not tell it beside the others'."""
    import torch

    alone = objective.collate([example], [draw]).to(batch.labels.device)
    return float((objective.judged_loss(model, alone).double().cpu() / torch.tensor(alone.targets)).sum())


def _gathered(
    total: torch.Tensor,
    targets: torch.Tensor,
    found: Sequence[tuple[Any, ...]],
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
        *(list(column) for column in zip(*(each[1:] for each in everything), strict=True)),
    )
