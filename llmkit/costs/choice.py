"""What a person said of a run: read once, with its units, and checked before anything is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from llmkit import units
from llmkit.costs.flops import Recompute
from llmkit.errors import UsageError, no_such
from llmkit.hardware.accelerators import CPU, find_accelerator
from llmkit.hardware.grids import WORLD, Grid, find_grid
from llmkit.units import Amount, Reading, parse
from llmkit.wanted import should_be, within

_MOST_OF_ANYTHING = 10**12  # devices, sequences or tokens of one
_MOST_OVERHEAD = 10
RECOMPUTE: tuple[Recompute, ...] = ("none", "selective", "full")
_READINGS: Mapping[str, tuple[Reading, ...]] = {
    "tokens": (units.TOKENS,),
    "mfu": (units.SHARE,),
    "hfu": (units.SHARE,),
    "price": (units.PRICE,),
    "pue": (units.OVERHEAD,),
    "power": (units.POWER,),
    "memory": (units.MEMORY,),
    "budget": (units.MONEY, units.DEVICE_HOURS, units.COMPUTE),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What was said of a run; None for what was not.

    Attributes:
        tokens: that the run sees, epochs included.
        gpu: a name of the table of accelerators, ``cpu`` for this machine; `gpus` how many of them.
        mfu: the share of their peak that the model's own FLOPs are; `hfu` that all computed FLOPs are.
        power: what one of them draws; `memory` what it has, where that is not what the table says.
        budget: money, device hours or FLOPs.
        batch_size: sequences on a device at once, for the memory.
    """

    tokens: Amount | None = None
    gpu: str | None = None
    gpus: int | None = None
    mfu: Amount | None = None
    hfu: Amount | None = None
    price: Amount | None = None
    pue: Amount | None = None
    power: Amount | None = None
    memory: Amount | None = None
    grid: Grid = field(default_factory=lambda: find_grid(WORLD))
    budget: Amount | None = None
    sequence_length: int | None = None
    batch_size: int = 1
    recompute: Recompute = "none"


def read_choice(
    texts: Mapping[str, str | None],
    *,
    gpu: str | None = None,
    gpus: int | None = None,
    grid: str | None = None,
    sequence_length: int | None = None,
    batch_size: int = 1,
    recompute: str = "none",
    at_hand: bool = False,
) -> Choice:
    """Read the options of a call.

    Args:
        texts: the options that are amounts, by name without the dashes, as they were typed.
        at_hand: where no device is named, the one at hand is meant.

    Raises:
        UsageError: one cannot be read or is out of range, or two do not go together.
    """
    amounts = {
        name: parse(text, f"--{name}", *_READINGS[name]) for name, text in texts.items() if text is not None
    }
    for name, value in {"gpus": gpus, "sequence-length": sequence_length, "batch-size": batch_size}.items():
        within(1, _MOST_OF_ANYTHING, value, f"--{name}")
    if gpu is not None and gpu.strip().lower() != CPU:
        gpu = find_accelerator(gpu).name
    choice = Choice(
        gpu=gpu,
        gpus=gpus,
        grid=find_grid(WORLD if grid is None else grid),
        sequence_length=sequence_length,
        batch_size=batch_size,
        recompute=_recompute(recompute),
        **amounts,
    )
    _check(choice)
    _check_device(choice, grid, at_hand=at_hand)
    return choice


def _recompute(text: str) -> Recompute:
    for each in RECOMPUTE:
        if text == each:
            return each
    raise no_such("--recompute", text, "way", RECOMPUTE)


def _check(choice: Choice) -> None:
    for name in ("mfu", "hfu"):
        share: Amount | None = getattr(choice, name)
        if share is not None and share.value > 1:
            raise should_be(
                f"--{name} {share}", "1 or less, 100%", hint=f"Write it as {units.SHARE.examples}."
            )
    if choice.mfu is not None and choice.hfu is not None:
        raise UsageError("--mfu and --hfu say the same thing in two ways: give one of them.")
    if choice.pue is not None and choice.pue.value < 1:
        raise should_be(
            f"--pue {choice.pue.value:g}",
            "1 or more",
            hint="A data center cannot draw less than its devices.",
        )
    if choice.pue is not None and choice.pue.value > _MOST_OVERHEAD:
        raise UsageError(
            f"--pue: no data center draws {choice.pue.value:g} times what its devices do.",
            hint=f"Write it as {units.OVERHEAD.examples}.",
        )


def _check_device(choice: Choice, grid: str | None, *, at_hand: bool) -> None:
    """Refuse what says nothing where no device is named; of the one at hand the speed is measured."""
    of_memory = {
        "--memory": choice.memory,
        "--batch-size": None if choice.batch_size == 1 else choice.batch_size,
    }
    if choice.gpu is not None:
        _check_memory(choice, [name for name, value in of_memory.items() if value is not None])
        return
    needing: dict[str, object] = {"--gpus": choice.gpus, "--mfu": choice.mfu, "--hfu": choice.hfu}
    if not at_hand:
        needing |= {"--price": choice.price, "--pue": choice.pue, "--power": choice.power, "--grid": grid}
        needing |= of_memory
    idle = [name for name, value in needing.items() if value is not None]
    if idle:
        raise UsageError(
            f"{' and '.join(idle)} say{'s' if len(idle) == 1 else ''} nothing without a device.",
            hint="Name it: --gpu h100. `llmkit cost --accelerators` lists them.",
        )


def _check_memory(choice: Choice, given: list[str]) -> None:
    """Refuse what is for the memory where none is worked out."""
    if not given:
        return
    if choice.gpu is not None and choice.gpu.strip().lower() == CPU:
        raise UsageError(f"{given[0]} is for the memory of a device, and a CPU's is its machine's.")
    if choice.budget is not None:
        raise UsageError(f"{given[0]} is for the memory, which --budget does not ask for.")
