"""The gradient of a loss that compares all examples of a step, micro-batch for micro-batch and over all devices.

Gradient caching (Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", arXiv
2101.06983): first the vectors of all micro-batches are computed without a graph, then the loss of all of them and
its gradient at each vector; then each micro-batch goes through the model again, with a graph, from its vectors'
gradients back to the weights. Only the first micro-batch keeps its graph from the beginning, so that a step that is
not split is computed once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.training.objectives.base import Batch
from llmkit.training.objectives.whole_step import WholeStepObjective

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

RandomState = list["torch.Tensor"]


def step_backward(
    objective: WholeStepObjective,
    model: Any,
    batches: Sequence[Batch],
    targets: torch.Tensor,
    accelerator: Accelerator,
    propagate: Callable[[torch.Tensor], None],
) -> list[torch.Tensor]:
    """Add up the gradient of a step's loss.

    Args:
        batches: this device's micro-batches, at least one.
        targets: of the whole step.
        propagate: goes back from a scalar to the weights.

    Returns:
        This device's share of the loss, times `targets`: all devices' shares add up to a sum of losses.
    """
    import torch

    def unsynced() -> contextlib.AbstractContextManager[None]:
        return accelerator.no_sync(model) if len(batches) > 1 else contextlib.nullcontext()

    with unsynced():
        first = objective.represent(model, batches[0])
    vectors, states = [first.detach()], []
    with torch.no_grad(), unsynced():
        for batch in batches[1:]:
            states.append(_random_state(accelerator.device))
            vectors.append(objective.represent(model, batch))
    loss, gradient = _loss_and_gradient(objective, vectors, batches, accelerator)
    # The devices' gradients are averaged where they meet, hence their number.
    shares = (gradient * accelerator.num_processes).split([len(each) for each in vectors])
    with unsynced():
        propagate((first * shares[0]).sum())
    for number, (batch, state, share) in enumerate(
        zip(batches[1:], states, shares[1:], strict=True), start=2
    ):
        with contextlib.nullcontext() if number == len(batches) else unsynced():
            _restore(state, accelerator.device)  # the same dropout as the first time
            propagate((objective.represent(model, batch) * share).sum())
    return [loss.double().cpu() * targets / accelerator.num_processes]


def _loss_and_gradient(
    objective: WholeStepObjective,
    vectors: Sequence[torch.Tensor],
    batches: Sequence[Batch],
    accelerator: Accelerator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of all devices' vectors, and its gradient at this device's, (its texts, width)."""
    import torch

    mine = torch.cat(list(vectors)).float()
    everything, start = _over_devices(mine, accelerator)
    labels, _ = _over_devices(torch.cat([batch.labels for batch in batches]), accelerator)
    everything.requires_grad_()
    loss = objective.step_loss(everything, labels)
    (gradient,) = torch.autograd.grad(loss, everything)
    return loss.detach(), gradient[start : start + len(mine)]


def _over_devices(rows: torch.Tensor, accelerator: Accelerator) -> tuple[torch.Tensor, int]:
    """Return the rows of all devices, one device's after the other's, and where this device's begin."""
    import torch

    if accelerator.num_processes == 1:
        return rows, 0
    counts = accelerator.gather(torch.tensor([len(rows)], device=rows.device)).tolist()
    padded = rows.new_zeros((max(counts), *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = accelerator.gather(padded).split(max(counts))
    everything = torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
    return everything, sum(counts[: accelerator.process_index])


def _random_state(device: torch.device) -> RandomState:
    import torch

    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _restore(states: RandomState, device: torch.device) -> None:
    import torch

    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
