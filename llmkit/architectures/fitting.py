"""Whether a model fits a memory, and how: to run it in four dtypes, and to train it in several ways."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from llmkit.architectures import activations, memory
from llmkit.architectures.activations import BFLOAT16, FLOAT32
from llmkit.architectures.counted import Counted, Quantity
from llmkit.architectures.generation_cache import cache_bytes
from llmkit.architectures.lora import LoraSpec
from llmkit.data.shapes import also
from llmkit.errors import UsageError, did_you_mean

# What is not the model's: an assumption, as it differs with the driver and the allocator.
CONTEXT_BYTES = 2**30
FRAGMENTATION = 0.05
HEADROOM = "1 GiB for the CUDA context and kernels, and 5 % of the memory for fragmentation (an assumption)"

_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*([a-z]*)\s*", re.IGNORECASE | re.ASCII)
_UNITS = {
    "b": 1,
    **{f"{letter}{ending}": 1000**power for power, letter in enumerate("kmgtp", 1) for ending in ("", "b")},
    **{f"{letter}i{ending}": 1024**power for power, letter in enumerate("kmgtp", 1) for ending in ("", "b")},
}


@also(fits=bool | None, left=int)
@dataclass(frozen=True, slots=True)
class Fit:
    """One way to use a model, and whether the memory is enough for it.

    Attributes:
        key: such as ``inference_bfloat16`` or ``training_lora_checkpointing``.
        needed: bytes, at the batch size asked for; `available` what the memory has beside the headroom.
        largest_batch: the most inputs at once that fit, 0 for none; None where they cost nothing that is known.
        formula: what `needed` is made of; `numbers` is the same with numbers.
        is_whole: `needed` has all that is needed in it; not so where what training keeps of the layers is not known.
    """

    key: str
    label: str
    needed: int
    available: int
    largest_batch: int | None
    formula: str
    numbers: str
    source: str
    is_whole: bool = True

    @property
    def fits(self) -> bool | None:
        """Whether it is enough; None where what is known would fit, and the rest is not known."""
        if self.needed > self.available:
            return False
        return True if self.is_whole else None

    @property
    def left(self) -> int:
        """Bytes that are left over; what is missing, as a negative number."""
        return self.available - self.needed


def parse_size(text: str) -> int:
    """Return the bytes of ``24GB``, ``24GiB``, ``24g`` or ``80000MB``; GB is 10^9 and GiB is 2^30.

    Raises:
        UsageError: it has no unit, an unknown one, or is no number above 0.
    """
    match = _SIZE.fullmatch(text)
    unit = match[2].lower() if match else ""
    size = float(match[1]) * _UNITS[unit] if match and unit in _UNITS else 0
    if match and 1 <= size < 2**63:
        return round(size)
    guess = did_you_mean(unit, ("GB", "GiB", "MB", "MiB", "TB")) if unit and unit not in _UNITS else None
    raise UsageError(
        f"'{text}' is no size of a memory" + (f"; {guess}" if guess else "."),
        hint="Write a number with its unit: 24GB (10^9 bytes each) or 24GiB (2^30 bytes each).",
    )


def available_bytes(size: int) -> int:
    """Return what is left of a memory of `size` bytes beside the headroom, negative where that is more than it.

    See `HEADROOM`.
    """
    return round(size * (1 - FRAGMENTATION)) - CONTEXT_BYTES


def fits(
    counted: Counted,
    size: int,
    *,
    batch_size: int,
    sequence_length: int,
    lora: LoraSpec | None = None,
) -> list[Fit]:
    """Say for each way to run and to train the model whether it fits `size` bytes, from the best to the least.

    To run it takes the weights, the cache at `sequence_length` tokens, and one layer's activations. For
    training see `memory.training`.

    Args:
        lora: as of `memory.regimes`.

    Raises:
        UsageError: `lora` does not fit the model.
    """
    available = available_bytes(size)
    return [
        *_inference(counted, available, batch_size, sequence_length),
        *_training(counted, available, batch_size, sequence_length, lora),
    ]


def _inference(counted: Counted, available: int, batch_size: int, sequence_length: int) -> Iterator[Fit]:
    for weights in memory.weights(counted):
        dtype = weights.key.removeprefix("weights_")
        is_full = dtype == "float32"
        cache = cache_bytes(counted, context=sequence_length, element_size=4 if is_full else 2)
        precision = FLOAT32 if is_full else BFLOAT16
        kept = activations.saved(counted, sequence_length=sequence_length, precision=precision)
        layer = kept.largest_layer if kept else 0.0
        yield Fit(
            f"inference_{dtype}",
            f"run in {dtype}",
            round(weights.value + batch_size * (cache + layer)),
            available,
            _largest(available, weights.value, cache + layer) if kept else None,
            "weights + batch × (cache + activations of one layer)",
            f"{weights.value:,.0f} + {batch_size:,} × ({cache:,.0f} + {layer:,.0f})",
            weights.source,
        )


# From the best to the least: what changes all weights first, and what costs time or precision later.
_WAYS = ("float32", "mixed", "bfloat16", "lora", "qlora")


def _training(
    counted: Counted, available: int, batch_size: int, sequence_length: int, lora: LoraSpec | None
) -> Iterator[Fit]:
    ways = sorted(memory.regimes(counted, lora), key=lambda regime: _WAYS.index(regime.key))
    for regime in ways:
        kept = memory.activations_of(counted, regime, sequence_length=sequence_length)
        for needed in memory.training_quantities(regime, kept, batch_size):
            if not needed.key.startswith("training"):
                continue
            yield _fit_of(needed, regime, kept, available)


def _fit_of(needed: Quantity, regime: memory.Regime, kept: activations.Saved | None, available: int) -> Fit:
    each = kept.total(checkpointing=needed.key.endswith("checkpointing")) if kept else 0.0
    return Fit(
        needed.key,
        needed.label.removeprefix("training, "),
        round(needed.value),
        available,
        _largest(available, regime.states, each) if each else None,
        needed.formula,
        needed.numbers,
        needed.source,
        is_whole=kept is not None,
    )


def _largest(available: int, fixed: float, each: float) -> int | None:
    if available < fixed:
        return 0
    return int((available - fixed) // each) if each else None
