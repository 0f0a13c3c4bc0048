"""What a run will take: its steps, tokens and FLOPs from the data, its time from a few steps that were really taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmkit.figures import Figure, Span, figure
from llmkit.hardware.at_hand import device_name, power_of_device
from llmkit.hardware.bills import energy_figure
from llmkit.training.costs import model_flops, share_of_targets
from llmkit.training.fitting import within_limits
from llmkit.units import Amount

if TYPE_CHECKING:
    from llmkit.training.loop import Loop, StepResult
    from llmkit.training.state import Run
    from llmkit.training.steps import Step, Steps

# The first step makes the optimizer's states, and meets each shape for the first time.
_WARM_STEPS = 1
_LEAST_STEPS, _MOST_STEPS = 5, 40
_LEAST_SECONDS = 5.0
_STEPS_SAMPLED = 200


@dataclass(frozen=True, slots=True)
class Workload:
    """What the steps of a run go over, on all devices together.

    Attributes:
        tokens: real ones, epochs included.
        flops: that the model itself needs for them.
    """

    steps: int
    tokens: int
    flops: float


def workload_of(run: Run) -> Workload:
    """Return what a run goes over: every example of the whole epochs, and those that the last part of one draws.

    Where the vocabulary head runs at the targets alone, a token is taken to have as many as in the first micro-batch.
    """
    steps = run.loop.steps
    texts: Counter[int] = Counter()
    whole, rest = divmod(steps.total, steps.an_epoch)
    if whole:
        texts.update({length: whole * number for length, number in Counter(_texts(run, None)).items()})
    texts.update(_texts(run, steps.drawn(whole, rest)))
    tokens = sum(length * number for length, number in texts.items())
    at_targets = run.objective.head_at_targets
    flops = model_flops(run.model, head_at_targets=at_targets)
    targets = share_of_targets(run) * tokens if at_targets else 0.0
    return Workload(steps.total, tokens, flops(texts, targets))


def _texts(run: Run, numbers: list[int] | None) -> Iterator[int]:
    """Go through the tokens of each text of some examples, or of all; the samples of a packed row each for itself."""
    examples = run.data.train
    if "samples" not in examples.table.column_names:
        yield from examples.lengths if numbers is None else (examples.lengths[number] for number in numbers)
        return
    for lengths in (
        examples.column("lengths") if numbers is None else examples.subset(sorted(numbers)).column("lengths")
    ):
        yield from lengths


@dataclass
class Pace:
    """How fast the steps of a loop are, from those that were taken first."""

    loop: Loop
    results: list[StepResult] = field(default_factory=list)

    def add(self, result: StepResult) -> None:
        """Take a step into account, unless there are enough."""
        if not self.is_settled:
            self.results.append(result)

    @property
    def is_settled(self) -> bool:
        """Whether enough steps were taken to go by."""
        counted = self.results[_WARM_STEPS:]
        seconds = sum(each.seconds for each in counted)
        return len(counted) >= _MOST_STEPS or (len(counted) >= _LEAST_STEPS and seconds >= _LEAST_SECONDS)

    @property
    def counted(self) -> list[StepResult]:
        """The steps that are gone by: the first is not, unless it is the only one."""
        return self.results[_WARM_STEPS:] or self.results

    @property
    def tokens_per_second(self) -> float:
        """Real tokens, on all devices."""
        return sum(each.tokens for each in self.counted) / sum(each.seconds for each in self.counted)

    def seconds(self) -> Span:
        """Return the seconds of all steps, with those at the slowest and at the fastest of the steps that were taken.

        A step takes its time for the tokens of its micro-batches, padding included, and something for each of them,
        as `Steps` weighs them when it cuts them.
        """
        steps = within_limits(self.loop.steps, self.loop.progress)
        work = [_work(each.step, steps) for each in self.counted]
        paces = [each.seconds / units for each, units in zip(self.counted, work, strict=True)]
        mean = sum(each.seconds for each in self.counted) / sum(work)
        mean = min(max(mean, min(paces)), max(paces))  # rounded, it may lie just outside
        every = max(1, steps.total // _STEPS_SAMPLED)
        sampled = [_work(steps.at(number), steps) for number in range(0, steps.total, every)]
        total = sum(sampled) / len(sampled) * steps.total
        return Span(mean, min(paces), max(paces)) * total


def _work(step: Step, steps: Steps) -> float:
    return sum(
        len(rows) * max(steps.lengths[row] for row in rows) + steps.overhead_tokens
        for rows in step.micro_batches
    ) or float(steps.overhead_tokens)


def probe(run: Run) -> Pace:
    """Take the first steps of a run that is ready, as the run itself would; the weights change in memory alone."""
    from llmkit.training.fitting import measure
    from llmkit.training.preparing import is_measured

    if is_measured(run.config, on_cpu=run.accelerator.device.type == "cpu"):
        measure(run.loop)
    pace = Pace(run.loop)
    for result in run.loop.run():
        pace.add(result)
        if pace.is_settled:
            break
    return pace


@dataclass
class Plan:
    """What was planned of a run that is under way: what it goes over, and how long by its first steps."""

    workload: Workload
    pace: Pace


def planned_and_actual(run: Run) -> dict[str, dict[str, Any]] | None:
    """Return what was planned of a run that is over beside what it took, with units; None where nothing was planned."""
    if run.plan is None or not run.plan.pace.results:
        return None
    workload, progress = run.plan.workload, run.progress
    energy = actual_energy(run)
    pairs = {
        "steps": (Amount(workload.steps, "steps"), Amount(progress.step, "steps")),
        "tokens": (Amount(workload.tokens, "tokens"), Amount(progress.tokens, "tokens")),
        "training_flops": (Amount(workload.flops, "FLOPs"), Amount(progress.flops, "FLOPs")),
        "training_time": (Amount(run.plan.pace.seconds().middle, "s"), Amount(progress.seconds, "s")),
    }
    planned = planned_energy(run, Span.exact(pairs["training_time"][0].value))
    if planned is not None and energy is not None:
        pairs["energy"] = (planned.amount, energy.amount)
    return {
        key: {
            "planned": plan.to_json(),
            "actual": actual.to_json(),
            **({"is": energy.source} if key == "energy" and energy is not None else {}),
        }
        for key, (plan, actual) in pairs.items()
    }


def planned_energy(run: Run, seconds: Span, overhead: float = 1.0) -> Figure | None:
    """Return the energy that a run's devices will draw by the table or the rule; None where neither has them."""
    power = power_of_device(run.accelerator.device)
    if power is None:
        return None
    # Of several processes on a CPU each has its own threads.
    hours = seconds * (run.accelerator.num_processes / 3600)
    return energy_figure(hours, Span.exact(power[0].of("W")), Span.exact(overhead), power_source=power[1])


def actual_energy(run: Run) -> Figure | None:
    """Return the energy that a run drew in its steps: measured where a counter could be read, else estimated."""
    if run.progress.joules and run.loop.meter.name:
        return figure(
            "energy",
            "energy, measured",
            Span.exact(run.progress.joules / 3.6e6),
            "kWh",
            formula="the counter after the steps − before them",
            source=f"measured: {run.loop.meter.name}",
        )
    planned = planned_energy(run, Span.exact(run.progress.seconds))
    return None if planned is None else _called_estimated(planned)


def _called_estimated(found: Figure) -> Figure:
    from dataclasses import replace

    return replace(found, label="energy, estimated and not measured", source=f"estimated: {found.source}")


def where(run: Run) -> str:
    """Return the devices of a run: ``2 × NVIDIA L4``."""
    return f"{run.accelerator.num_processes} × {device_name(run.accelerator.device)}"
