"""What a training run takes: from a count and what was said of the run to figures with formulas and sources."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmkit.architectures.count import ModelCount
from llmkit.costs import assumptions
from llmkit.costs.assumptions import Assumption, given
from llmkit.costs.choice import Choice
from llmkit.costs.devices import memory_figures
from llmkit.costs.flops import TokenFlops, flops_figures, token_flops
from llmkit.errors import UsageError
from llmkit.figures import Figure, Span, figure
from llmkit.hardware.accelerators import CPU, Accelerator, find_accelerator
from llmkit.hardware.bills import emissions_figure, energy_figure, money_figure
from llmkit.units import Amount

HOURS_SOURCE = (
    "Chowdhery et al. 2022 (PaLM), arXiv 2204.02311, section 4.1: model FLOPs utilization counts attention, "
    "and nothing that is computed twice"
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run takes.

    Attributes:
        label: what it is of.
        figures: in the order in which they follow from each other; the first is `training_flops`.
        notes: sentences that belong beside them.
    """

    label: str
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()

    def figure(self, key: str) -> Figure | None:
        """Return a figure by its key; None where it does not follow from what was said."""
        return next((each for each in self.figures if each.key == key), None)


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a device trains.

    Attributes:
        counts: which FLOPs `utilization` is a share of the peak for: ``mfu`` the model's own, ``hfu`` all computed.
    """

    accelerator: Accelerator
    peak: Amount
    utilization: Assumption
    counts: str

    @property
    def flops(self) -> Span:
        """FLOP/s of one device."""
        return self.utilization.span * self.peak.of("FLOP/s")

    def counted(self, each: TokenFlops) -> float:
        """Return the FLOPs of a token that the speed is of."""
        return each.with_attention if self.counts == "mfu" else each.computed


def speed_of(choice: Choice) -> Speed | None:
    """Return how fast the chosen device trains; None where none was chosen.

    Raises:
        UsageError: there is no such device.
    """
    if choice.gpu is None:
        return None
    accelerator = _accelerator(choice.gpu)
    peak = accelerator.peaks[accelerator.training_dtype]
    if choice.mfu is not None:
        return Speed(accelerator, peak, given(choice.mfu, "--mfu"), "mfu")
    if choice.hfu is not None:
        return Speed(accelerator, peak, given(choice.hfu, "--hfu"), "hfu")
    # Of what is assumed it is the hardware that is kept so busy: what is computed again takes its time.
    return Speed(accelerator, peak, assumptions.UTILIZATION, "hfu")


def _accelerator(name: str) -> Accelerator:
    if name.strip().lower() != CPU:
        return find_accelerator(name)
    from llmkit.hardware.at_hand import measured_cpu

    return measured_cpu()


def _with_memory(accelerator: Accelerator, choice: Choice) -> Accelerator:
    return accelerator if choice.memory is None else replace(accelerator, memory=choice.memory)


def estimate(count: ModelCount, choice: Choice) -> Estimate:
    """Return what it takes to train a model on some tokens.

    Raises:
        UsageError: no tokens were named, the model is none of text, or a device's memory holds nothing.
    """
    if choice.tokens is None:
        raise UsageError(
            f"on how many tokens is {count.label} trained?",
            hint="Say it: --tokens 15T; or turn it round: --budget 5000usd.",
        )
    each = token_flops(count, choice.sequence_length, choice.recompute)
    tokens = Span.exact(choice.tokens.of("tokens"))
    found = flops_figures(count, each, tokens)
    speed = speed_of(choice)
    notes: list[str] = []
    if speed is not None:
        hours = tokens * speed.counted(each) / (speed.flops * 3600)
        found += [hours_figure(hours, speed, Amount(tokens.middle * speed.counted(each), "FLOPs"))]
        found += bills(hours, speed.accelerator, choice)
        memory, notes = memory_figures(
            count,
            _with_memory(speed.accelerator, choice),
            choice.gpus,
            batch_size=choice.batch_size,
            sequence_length=each.sequence_length,
            recompute=choice.recompute,
        )
        found += memory
        notes += notes_of(speed.accelerator)
    return Estimate(count.label, tuple(found), (*notes, *notes_of_model(count, choice, each.sequence_length)))


def notes_of_model(count: ModelCount, choice: Choice, sequence_length: int) -> list[str]:
    """Return what must be said of the length that was counted with, and of what is trained."""
    notes = []
    if count.counted.context and sequence_length > count.counted.context:
        notes.append(
            f"{sequence_length:,} tokens at once are more than the {count.counted.context:,} that its config "
            "provides for."
        )
    if choice.sequence_length is None and not count.counted.context:
        notes.append(
            f"Its config does not say how many tokens it takes at once: {sequence_length:,} are assumed, "
            "--sequence-length 512 says it."
        )
    if count.lora is not None and count.lora.note:
        notes.append(count.lora.note)
    return notes


def hours_figure(hours: Span, speed: Speed, flops: Amount) -> Figure:
    """Return the device hours that some FLOPs take."""
    share = "MFU" if speed.counts == "mfu" else "hardware utilization"
    what = "with attention" if speed.counts == "mfu" else "computed FLOPs"
    dtype = speed.accelerator.training_dtype
    return figure(
        "device_hours",
        f"{speed.accelerator.kind} hours, {speed.accelerator.name}",
        hours,
        "device hours",
        formula=f"{what} / (peak in {dtype} × {share} × 3600 s)",
        numbers=f"{flops} / ({speed.peak} × {speed.utilization.amount} × 3600 s)",
        source="; ".join((HOURS_SOURCE, speed.accelerator.source, speed.utilization.source)),
    )


def bills(hours: Span, accelerator: Accelerator, choice: Choice) -> list[Figure]:
    """Return what follows from device hours: days, energy, CO2e and money, as far as it does."""
    found = []
    if choice.gpus is not None:
        found.append(_days(hours, choice.gpus))
    power = given(choice.power, "--power") if choice.power is not None else assumptions.power_of(accelerator)
    overhead = given(choice.pue, "--pue") if choice.pue is not None else assumptions.OVERHEAD
    if power is not None:
        energy = energy_figure(
            hours, power.span, overhead.span, power_source=f"{power.source}; {overhead.source}"
        )
        found += [energy, emissions_figure(energy, choice.grid)]
    if choice.price is not None:
        found.append(money_figure(hours, choice.price))
    return found


def _days(hours: Span, devices: int) -> Figure:
    return figure(
        "training_time",
        f"time on {devices:,} device{'s' if devices > 1 else ''}",
        hours / (24 * devices),
        "days",
        formula="device hours / devices / 24 h",
        numbers=f"{Amount(hours.middle, 'device hours')} / {devices:,} devices / 24 h",
    )


def notes_of(accelerator: Accelerator) -> list[str]:
    """Return what must be said of an accelerator's figures."""
    notes = []
    if accelerator.power is None:
        notes.append(f"{accelerator.name}: nobody published what it draws: --power 400W says it.")
    if accelerator.from_memory:
        fields = ", ".join(name.partition("_")[0] for name in accelerator.from_memory)
        notes.append(f"{accelerator.name}: {fields} as remembered, not read from the data sheet again.")
    return notes
