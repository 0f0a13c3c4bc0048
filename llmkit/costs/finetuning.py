"""What the steps of a config take, on the device at hand by a probe, or on one of the table by its peak."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmkit.costs.assumptions import given
from llmkit.costs.choice import Choice
from llmkit.costs.estimate import Estimate, bills, hours_figure, notes_of, speed_of
from llmkit.figures import Figure, Span, figure
from llmkit.hardware.bills import emissions_figure, energy_figure, money_figure
from llmkit.units import Amount

FLOPS_SOURCE = "Chowdhery et al. 2022 (PaLM), arXiv 2204.02311, appendix B"
_ALONE = Amount(1.0, "W/W")  # the machine at hand, without a building around it


@dataclass(frozen=True, slots=True)
class Steps:
    """What a config's steps go over.

    Attributes:
        label: the config.
        tokens: real ones, epochs included; `flops` what the model itself needs for them.
        needed, free: bytes on each device, as the run would use it; None where they are not known.
    """

    label: str
    steps: int
    tokens: int
    flops: float
    epochs: str
    needed: float | None = None
    free: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """The device at hand, and how long the steps take on it.

    Attributes:
        device: such as ``1 × CPU (x86_64)``; `devices` how many.
        seconds: of all steps, from `steps` of them.
        power: what one device draws, and where that is from; None where nobody says.
        load: that others used the device meanwhile; "" where they did not.
    """

    device: str
    devices: int
    seconds: Span
    steps: int
    power: tuple[Amount, str] | None
    load: str = ""


def on_device_at_hand(work: Steps, measured: Measured, choice: Choice) -> Estimate:
    """Return what the steps take on the device at hand, as a probe measured it."""
    hours = measured.seconds * (measured.devices / 3600)
    found = [*_work_figures(work), *_memory_figures(work), _time(measured), _throughput(work, measured)]
    found.append(
        figure(
            "device_hours", "device hours", hours, "device hours",
            formula="training time × devices",
            numbers=f"{Amount(measured.seconds.middle, 's')} × {measured.devices:,} devices",
        )
    )  # fmt: skip
    power = measured.power if choice.power is None else (choice.power, "--power")
    overhead = given(choice.pue or _ALONE, "--pue" if choice.pue else "the device alone")
    if power is not None:
        energy = energy_figure(
            hours,
            Span.exact(power[0].of("W")),
            overhead.span,
            power_source=f"{power[1]}; PUE: {overhead.source}",
            label="energy, estimated",
        )
        found += [energy, emissions_figure(energy, choice.grid)]
    if choice.price is not None:
        found.append(money_figure(hours, choice.price))
    notes = ["The time is that of the steps: loading, evaluations and checkpoints come on top."]
    if measured.load:
        notes.append(
            f"{measured.load} The time holds as long as the others take as much of it as during the probe."
        )
    return Estimate(work.label, tuple(found), tuple(notes))


def on_device_of_table(work: Steps, choice: Choice) -> Estimate:
    """Return what the steps take on a device of the table, at the utilization that was said or is assumed."""
    speed = speed_of(choice)
    assert speed is not None
    hours = Span.exact(work.flops) / (speed.flops * 3600)
    hours_of = hours_figure(hours, replace(speed, counts="mfu"), Amount(work.flops, "FLOPs"))
    found = [*_work_figures(work), hours_of, *bills(hours, speed.accelerator, choice)]
    source = "By the peak" if speed.accelerator.kind == "CPU" else "By the table"
    notes = [
        f"{source}, not measured: models this small often keep a device less busy than those the "
        "assumption is from. Without --gpu the steps are measured on the device at hand."
    ]
    return Estimate(work.label, tuple(found), (*notes, *notes_of(speed.accelerator)))


def _work_figures(work: Steps) -> list[Figure]:
    return [
        figure(
            "training_flops", "training FLOPs, with attention", Span.exact(work.flops), "FLOPs",
            formula="(forward + backward FLOPs of each text at its own length), real tokens alone",
            source=FLOPS_SOURCE,
        ),
        figure(
            "tokens", "tokens", Span.exact(work.tokens), "tokens",
            formula="tokens of the training examples × epochs, as tokenized", numbers=work.epochs,
        ),
        figure(
            "steps", "optimizer steps", Span.exact(work.steps), "steps",
            formula="examples / batch size × epochs, or training.max_steps", numbers=work.epochs,
        ),
    ]  # fmt: skip


def _memory_figures(work: Steps) -> list[Figure]:
    found = []
    if work.needed is not None:
        found.append(
            figure(
                "memory_per_device", "memory on each device", Span.exact(work.needed), "bytes",
                formula="weights + gradients + AdamW's moments + activations of the largest micro-batch",
            )
        )  # fmt: skip
    if work.free is not None:
        found.append(
            figure(
                "memory_free", "memory that is free", Span.exact(work.free), "bytes", formula="measured now"
            )
        )
    return found


def _time(measured: Measured) -> Figure:
    return figure(
        "training_time",
        f"time on {measured.device}",
        measured.seconds,
        "s",
        formula="time a padded token of the probe's steps × padded tokens of all steps; bounds: the fastest and the "
        "slowest of them",
        numbers=f"from {measured.steps:,} steps",
        source="measured now",
    )


def _throughput(work: Steps, measured: Measured) -> Figure:
    return figure(
        "throughput",
        "real tokens a second",
        Span.exact(float(work.tokens)) / measured.seconds,
        "tokens/s",
        formula="tokens / training time",
        source="measured now",
    )
