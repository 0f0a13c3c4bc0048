"""The training loop: from a step's examples to new weights.

A step draws its examples, makes them batches (`Objective.collate`), and adds up the gradients of the sum of their
losses divided by the number of targets of the whole step, over micro-batches and devices. So the gradient does not
depend on how the step was split, which a mean of means would.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmkit.errors import ModelError
from llmkit.hardware.meters import EnergyMeter
from llmkit.training.averaging import WeightAverage
from llmkit.training.examples import Examples
from llmkit.training.fitting import (
    TooLargeError,
    agreed_to_fit,
    cut_smaller,
    free_memory,
    memory_explained,
    same_random_numbers,
    within_limits,
)
from llmkit.training.gradient_cache import step_backward
from llmkit.training.objectives.base import Objective
from llmkit.training.objectives.batch import Batch, Draw
from llmkit.training.objectives.whole_step import WholeStepObjective
from llmkit.training.processes import gathered
from llmkit.training.sharding import in_step, meet_gradients, missing_passes, whole
from llmkit.training.steps import Step, Steps
from llmkit.training.zero import engine_of

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator


@dataclass(slots=True)
class Progress:
    """How far a run has come: what a checkpoint keeps beside the tensors.

    Attributes:
        step: optimizer steps done.
        best: the best value of the metric so far, at `best_step`; negated where less of it is better.
        waited: evaluations since then.
        tokens: real tokens seen, and `padded`, with the padding.
        joules: that the devices drew in the steps; None where nothing measured it, or not all of them.
        most_rows, most_tokens: of a micro-batch, where it was found out what fits; a resumed run cuts the same.
    """

    step: int = 0
    best: float | None = None
    best_step: int = 0
    waited: int = 0
    tokens: int = 0
    padded: int = 0
    seconds: float = 0.0
    flops: float = 0.0
    joules: float | None = 0.0
    most_rows: int | None = None
    most_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step gave: the mean loss of its targets, its gradient's length before clipping, its tokens and FLOPs.

    Attributes:
        joules: what the devices drew; None where nothing measures it.
    """

    step: Step
    loss: float
    gradient_norm: float
    learning_rate: float
    tokens: int
    padded: int
    seconds: float
    flops: float = 0.0
    joules: float | None = None


class NotFiniteError(ModelError):
    """The loss or the gradient is NaN or infinite."""


@dataclass
class Loop:
    """Everything a step needs.

    Attributes:
        model: as `accelerator` prepared it; `optimizer` too.
        rate_at: the factor of the learning rate by the number of the step.
        note: takes a remark for the person.
        flops: counts what the model needs for some batches; None where nobody asks.
        meter: measures what this process's device draws.
        is_rehearsal: other devices only pretend to be there; what comes of them may be anything, and is not checked.
    """

    accelerator: Accelerator
    model: Any
    optimizer: Any
    objective: Objective
    examples: Examples
    steps: Steps
    rate_at: Callable[[int], float]
    max_grad_norm: float | None
    seed: int
    average: WeightAverage | None = None
    note: Callable[[str], None] = lambda text: None
    flops: Callable[[Sequence[Batch]], float] | None = None
    meter: EnergyMeter = field(default_factory=EnergyMeter)
    progress: Progress = field(default_factory=Progress)
    is_rehearsal: bool = False

    def __post_init__(self) -> None:
        self._base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self._engine = engine_of(self.model)

    def run(self) -> Iterator[StepResult]:
        """Take the steps that are left, one by one.

        Raises:
            NotFiniteError: the loss is not a number; the weights are those before the step.
            ModelError: not one example fits in the memory.
        """
        self.model.train()
        while self.progress.step < self.steps.total:
            yield self._take(self.progress.step)

    def _take(self, number: int) -> StepResult:
        """Take one optimizer step: from its examples to a gradient, and from that to new weights."""
        begin = time.perf_counter()
        self.meter.lap()
        self._set_rate(number)
        step, batches, loss = self._fitted(number)
        norm = self._clip_and_step(step, loss)
        if self.average is not None:
            self.average.update(number + 1)
        return self._counted(step, batches, loss, norm, begin)

    def _clip_and_step(self, step: Step, loss: float) -> float:
        """Let the gradient change the weights, and return how long it was before it was clipped.

        DeepSpeed's engine clips and steps at once: there a gradient that is no number has reached the weights when
        it is found out, and the checkpoints alone are as they were.
        """
        if self._engine is not None:
            self._check_finite(step, loss, 0.0)
            with memory_explained("the optimizer's states"):
                norm = self._engine.step()
            self._check_finite(step, loss, norm)
            return norm
        norm = self._clip()
        self._check_finite(step, loss, norm)
        with memory_explained("the optimizer's states"):
            self.optimizer.step()
        self.optimizer.zero_grad()
        return norm

    def _drawn(self) -> float:
        """Return the joules since the step began: NaN for a device that nothing measures, 0 where another counts it."""
        joules = self.meter.lap()
        if joules is not None:
            return joules
        is_counted_elsewhere = (
            self.accelerator.device.type == "cpu" and not self.accelerator.is_local_main_process
        )
        return 0.0 if is_counted_elsewhere else math.nan

    def _fitted(self, number: int) -> tuple[Step, list[Batch], float]:
        """Add up a step's gradients; what does not fit in the memory is cut smaller, and the step begun anew."""
        is_second_try = False
        with same_random_numbers(self.accelerator.device) as restore:
            while True:
                step = within_limits(self.steps, self.progress).at(number)
                try:
                    return step, *self._gradients(step)
                except TooLargeError as error:
                    too_large = TooLargeError(error.rows, error.length)  # without the graph in its traceback
                free_memory(self)
                restore()
                # A single example may have lacked what was freed just now.
                if too_large.rows == 1 and not is_second_try:
                    is_second_try = True
                    continue
                self.note(cut_smaller(self.steps, self.progress, too_large, self._places(step)))

    def _gradients(self, step: Step) -> tuple[list[Batch], float]:
        """Return a step's batches and its loss, its gradients added up."""
        batches = [self.batch(rows, step.epoch) for rows in step.micro_batches]
        parts = () if self.objective.loss_parts == 1 else (self.objective.loss_parts,)
        targets = self._over_devices([batch.targets for batch in batches], parts)
        missing = missing_passes(self.model, len(batches), self.accelerator.device)
        if self._engine is not None:
            self._engine.begin(len(batches) + missing)
        with in_step(self.model, agreed_to_fit(self.accelerator, step, self.steps.lengths)):
            losses = self._backward(batches, targets)
            for _ in range(missing):
                self._propagate(self.objective.loss(self.model, self.batch([0], step.epoch)).sum() * 0)
        meet_gradients(self.model)
        return batches, float((self._over_devices(losses, parts) / targets).sum())

    def _set_rate(self, number: int) -> None:
        factor = self.rate_at(number)
        for group, base in zip(self.optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = base * factor

    def batch(self, rows: list[int], epoch: int) -> Batch:
        """Return examples as a batch on the device, what is random in it drawn for an epoch."""
        draws = [Draw(self.seed, epoch, row) for row in rows]
        batch = self.objective.collate(self.examples.take(rows), draws)
        batch.rows = tuple(rows)
        return batch.to(self.accelerator.device)

    def _backward(self, batches: list[Batch], targets: torch.Tensor) -> list[torch.Tensor]:
        """Add up the gradients of the batches; return the sums of their losses, each () or (parts,)."""
        if isinstance(self.objective, WholeStepObjective):
            return step_backward(
                self.objective, self.model, batches, targets, self.accelerator, self._propagate
            )
        losses = []
        # The devices' gradients are averaged where they meet, hence their number.
        scale = self.steps.devices / targets
        for batch in batches:
            loss = self.objective.loss(self.model, batch)
            self._propagate((loss * scale.to(loss)).sum())
            losses.append(loss.detach())
        return losses

    def _propagate(self, share: torch.Tensor) -> None:
        """Add up the gradients of a share of the loss, scaled up where half precision would lose them."""
        if self._engine is not None:
            self._engine.propagate(share)
            return
        scaler = self.accelerator.scaler
        # Not accelerator.backward: that would divide by the number of accumulation steps.
        (share if scaler is None else scaler.scale(share)).backward()

    def _clip(self) -> float:
        """Return the length of the gradient over all parameters; scale it down to the limit, if it is longer."""
        limit = self.max_grad_norm if self.max_grad_norm is not None else math.inf
        return float(whole(self.accelerator.clip_grad_norm_(self.model.parameters(), limit)))

    def _over_devices(self, values: Sequence[Any], shape: tuple[int, ...]) -> torch.Tensor:
        """Return the sum of numbers, or of rows of them, over all devices: () or (parts,), float64."""
        import torch

        numbers = [torch.as_tensor(value, dtype=torch.float64, device="cpu") for value in values]
        # A device without examples in this step has as many zeros as the others have sums.
        total = sum(numbers, start=torch.zeros(shape, dtype=torch.float64))
        if self.steps.devices == 1:
            return total
        return self.accelerator.reduce(total.to(self.accelerator.device), reduction="sum").cpu()

    def _check_finite(self, step: Step, loss: float, norm: float) -> None:
        """Stop before numbers that are none reach the weights.

        With float16 a gradient may be too large for it: the step is passed over and the scale halved, by the
        scaler, until there is nothing left to halve.
        """
        scaler = self.accelerator.scaler
        is_passed_over = scaler is not None and scaler.get_scale() > 1
        if self.is_rehearsal or (math.isfinite(loss) and (math.isfinite(norm) or is_passed_over)):
            return
        what = "the loss" if not math.isfinite(loss) else "the gradient"
        raise NotFiniteError(
            f"step {step.number + 1}: {what} is not a finite number. The rows of the step: {self._places(step)}.",
            hint="A lower training.learning_rate, or training.precision: float32, usually helps.",
        )

    def _counted(
        self, step: Step, batches: Sequence[Batch], loss: float, norm: float, begin: float
    ) -> StepResult:
        """Return what a step gave, and add it to how far the run has come."""
        flops = 0.0 if self.flops is None else self.flops(batches)
        counts = [(batch.tokens, batch.padded, 0.0, 0.0) for batch in batches]
        own = (0, 0, flops, self._drawn())
        tokens, padded, flops, joules = self._over_devices([*counts, own], (4,)).tolist()
        result = StepResult(
            step,
            loss,
            norm,
            max(group["lr"] for group in self.optimizer.param_groups),
            round(tokens),
            round(padded),
            time.perf_counter() - begin,
            flops,
            None if math.isnan(joules) else joules,
        )
        self.progress.step += 1
        self.progress.tokens += result.tokens
        self.progress.padded += result.padded
        self.progress.seconds += result.seconds
        self.progress.flops += result.flops
        if self.progress.joules is not None:
            self.progress.joules = None if result.joules is None else self.progress.joules + result.joules
        return result

    def _places(self, step: Step) -> str:
        mine = [self.examples.place(row) for rows in step.micro_batches for row in rows]
        places = [place for each in gathered(mine) for place in each]
        return ", ".join(places[:8]) + (f" and {len(places) - 8} more" if len(places) > 8 else "")
