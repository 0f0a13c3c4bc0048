"""How much memory a training run needs on each device, and how many devices it needs at least."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from llmkit.architectures import memory
from llmkit.architectures.activations import SOURCE as ACTIVATIONS_SOURCE
from llmkit.architectures.count import ModelCount
from llmkit.architectures.fitting import HEADROOM, available_bytes
from llmkit.costs.flops import Recompute
from llmkit.errors import UsageError
from llmkit.figures import Figure, Span, figure
from llmkit.hardware.accelerators import Accelerator
from llmkit.units import Amount

SHARDED_SOURCE = "Rajbhandari et al. 2020 (ZeRO, stage 3), arXiv 1910.02054"


SPLIT_SOURCE = "Shoeybi et al. 2019 (Megatron-LM), arXiv 1909.08053"


@dataclass(frozen=True, slots=True)
class Need:
    """What a run keeps in memory.

    Attributes:
        states: bytes of weights, gradients and optimizer states, over all devices together.
        activations: bytes that the sequences of one device keep; None where the architecture does not tell them.
        is_recomputed: the layers' activations are computed again in the backward pass.
        is_split: each layer is split over the devices, and so are its activations.
    """

    regime: memory.Regime
    states: float
    activations: float | None
    is_recomputed: bool
    is_split: bool = False

    @property
    def shared(self) -> float:
        """Bytes that are dealt out over the devices."""
        return self.states + (self.held if self.is_split else 0)

    @property
    def held(self) -> float:
        """Bytes of activations that are known of."""
        return self.activations or 0.0

    @property
    def own(self) -> float:
        """Bytes that each device has for itself."""
        return 0.0 if self.is_split else self.held

    def on_each(self, devices: int, group: int) -> float:
        """Return the bytes on each of some devices; a layer that is split is so over the devices of a group."""
        return self.states / devices + (self.held / group if self.is_split else self.held)

    def fits(self, available: float) -> bool:
        """Whether what a device has for itself leaves room for more on one of so many free bytes."""
        return self.own < available

    def least(self, available: float) -> int:
        """Return how many devices of so many free bytes are needed; what each has for itself fits."""
        return math.ceil(self.shared / (available - self.own))


def need_of(count: ModelCount, *, batch_size: int, sequence_length: int, recompute: Recompute) -> Need:
    """Return what a run in mixed precision, or with LoRA, keeps in memory."""
    lora = count.lora.spec if count.lora else None
    key = "lora" if lora else "mixed"
    regime = next(each for each in memory.regimes(count.counted, lora) if each.key == key)
    kept = memory.activations_of(count.counted, regime, sequence_length=sequence_length)
    is_recomputed = recompute == "full"
    held = None if kept is None else batch_size * kept.total(checkpointing=is_recomputed)
    return Need(regime, regime.states, held, is_recomputed)


def memory_figures(
    count: ModelCount,
    accelerator: Accelerator,
    devices: int | None,
    *,
    batch_size: int,
    sequence_length: int,
    recompute: Recompute,
) -> tuple[list[Figure], list[str]]:
    """Return the memory on each device and the least number of devices, and what must be said beside them.

    What does not fit as it was asked for is recomputed, and what does not fit then is split over the devices.

    Raises:
        UsageError: a device has no memory to speak of.
    """
    if accelerator.memory is None or accelerator.kind == "CPU":  # the memory of a machine is not its devices'
        return [], []
    available = available_bytes(round(accelerator.memory.of("bytes")))
    if available <= 0:
        raise UsageError(f"--memory {accelerator.memory}: nothing is left beside {HEADROOM}.")
    batch = f"{batch_size:,} × {sequence_length:,} tokens"
    need = need_of(count, batch_size=batch_size, sequence_length=sequence_length, recompute=recompute)
    notes = (
        [] if need.activations is not None else ["What its layers keep for the backward pass is not known."]
    )
    if not need.fits(available) and not need.is_recomputed:
        notes.append(
            f"What the layers keep of {batch}, {Amount(need.held, 'bytes')}, does not fit one {accelerator.name}: "
            "the memory is that with --recompute full."
        )
        need = need_of(count, batch_size=batch_size, sequence_length=sequence_length, recompute="full")
    if not need.fits(available):
        notes.append(
            f"{batch} keep {Amount(need.held, 'bytes')} even when the layers are recomputed, more than one "
            f"{accelerator.name} has: the memory is that with each layer split over the devices."
        )
        need = replace(need, is_split=True)
    least = need.least(available)
    if devices is not None and devices < least:
        notes.append(f"{devices:,} × {accelerator.name}: too few to hold it, at least {least:,} are needed.")
    return [
        _each(need, devices or least, min(least, devices or least), batch),
        _least(need, least, accelerator, available),
    ], notes


def _each(need: Need, devices: int, group: int, batch: str) -> Figure:
    again = ", recomputed" if need.is_recomputed else ""
    over = f" / {group:,} devices that each layer is split over" if need.is_split else ""
    held = f"{Amount(need.held, 'bytes')}" + (f" / {group:,} devices" if need.is_split else "")
    return figure(
        "memory_per_device",
        f"memory on each of {devices:,} device{'s' if devices > 1 else ''}",
        Span.exact(need.on_each(devices, group)),
        "bytes",
        formula=f"{need.regime.formula}, dealt out over the devices, + activations of {batch}{again}{over}",
        numbers=f"{Amount(need.states, 'bytes')} / {devices:,} devices + {held}",
        source=f"{need.regime.source}; {_sharing(need)}; {ACTIVATIONS_SOURCE}",
    )


def _sharing(need: Need) -> str:
    return SPLIT_SOURCE if need.is_split else SHARDED_SOURCE


def _least(need: Need, least: int, accelerator: Accelerator, available: int) -> Figure:
    free = f"{Amount(available, 'bytes')}"
    formula = f"states / (memory of a device − {HEADROOM} − activations), rounded up"
    numbers = f"{Amount(need.states, 'bytes')} / ({free} − {Amount(need.held, 'bytes')})"
    if need.is_split:
        formula = f"(states + activations) / (memory of a device − {HEADROOM}), rounded up"
        numbers = f"({Amount(need.states, 'bytes')} + {Amount(need.held, 'bytes')}) / {free}"
    return figure(
        "devices_at_least",
        f"{accelerator.name} needed at least",
        Span.exact(least),
        "devices",
        formula=formula,
        numbers=numbers,
        source=f"{_sharing(need)}; {accelerator.source}",
    )
