"""The gradient of a loss that compares all examples of a step, micro-batch for micro-batch and over all devices.

Gradient caching (Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", arXiv
2101.06983): first the vectors of all micro-batches are computed without a graph, then the loss of all of them and
its gradient at each vector; then each micro-batch goes through the model again, with a graph, from its vectors'
gradients back to the weights. Only the first micro-batch keeps its graph from the beginning, so that a step that is
not split is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.training.objectives.batch import Batch
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
        batches: this device's micro-batches; none where it has no examples in the step.
        targets: of the whole step.
        propagate: goes back from a scalar to the weights.

    Returns:
        This device's share of the loss, times `targets`: all devices' shares add up to a sum of losses.
    """
    import torch

    graphs = [objective.represent(model, batch) for batch in batches[:1]]
    vectors, states = [each.detach() for each in graphs], []
    with torch.no_grad():
        for batch in batches[1:]:
            states.append(_random_state(accelerator.device))
            vectors.append(objective.represent(model, batch))
    loss, gradient = _loss_and_gradient(objective, vectors, batches, accelerator)
    # The devices' gradients are averaged where they meet, hence their number.
    shares = (gradient * accelerator.num_processes).split([len(each) for each in vectors])
    for number, (batch, share) in enumerate(zip(batches, shares, strict=True)):
        if number > 0:
            _restore(states[number - 1], accelerator.device)  # the same dropout as the first time
        graph = graphs.pop() if graphs else objective.represent(model, batch)
        propagate((graph * share).sum())
    return [loss.double().cpu() * targets / accelerator.num_processes]


def _loss_and_gradient(
    objective: WholeStepObjective,
    vectors: Sequence[torch.Tensor],
    batches: Sequence[Batch],
    accelerator: Accelerator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of all devices' vectors, and its gradient at this device's, (its texts, width)."""
    import torch

    everything, mine = _over_devices([each.float() for each in vectors], accelerator)
    labels, _ = _over_devices([batch.labels for batch in batches], accelerator)
    everything.requires_grad_()
    loss = objective.step_loss(everything, labels)
    (gradient,) = torch.autograd.grad(loss, everything)
    return loss.detach(), gradient[mine]


def _over_devices(parts: Sequence[torch.Tensor], accelerator: Accelerator) -> tuple[torch.Tensor, slice]:
    """Return the rows of all devices, one device's after the other's, and where this device's are.

    Args:
        parts: this device's; none where it has no examples in the step.
    """
    import torch

    rows = torch.cat(list(parts)) if parts else None
    if accelerator.num_processes == 1:
        assert rows is not None
        return rows, slice(0, len(rows))
    from accelerate.utils import gather_object

    shapes = gather_object([None if rows is None else (len(rows), rows.shape[1:], rows.dtype)])
    counts = [0 if shape is None else shape[0] for shape in shapes]
    _, of_row, kind = next(shape for shape in shapes if shape is not None)
    padded = torch.zeros((max(counts), *of_row), dtype=kind, device=accelerator.device)
    if rows is not None:
        padded[: len(rows)] = rows
    devices = accelerator.gather(padded).split(max(counts))
    everything = torch.cat([each[:count] for each, count in zip(devices, counts, strict=True)])
    begin = sum(counts[: accelerator.process_index])
    return everything, slice(begin, begin + counts[accelerator.process_index])


def _random_state(device: torch.device) -> RandomState:
    import torch

    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _restore(states: RandomState, device: torch.device) -> None:
    import torch

    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
