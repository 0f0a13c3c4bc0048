"""The table of accelerators: peaks by dtype, memory, bandwidth and power, each row with its data sheet.

The figures are in ``accelerators.json``. Peaks are of dense matrix products, without the factor of two that data
sheets give for sparsity. float32 is that of the ordinary cores: torch multiplies float32 matrices there unless TF32
is allowed. `from_memory` names the figures of a row that were written down without the data sheet at hand.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from llmkit.errors import UsageError, did_you_mean
from llmkit.units import Amount, Measured

CPU = "cpu"  # the one whose peak is measured


class AcceleratorObject(TypedDict):
    """An accelerator as JSON has it (--accelerators); `peak` is by dtype, null is what nobody published."""

    name: str
    kind: str
    peak: dict[str, Measured]
    memory: Measured | None
    bandwidth: Measured | None
    power: Measured | None
    power_is: str | None
    source: str
    url: str | None
    from_memory: list[str]
    note: str | None


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A device, as its maker describes it.

    Attributes:
        kind: GPU, TPU or Trainium; CPU for the machine at hand.
        peaks: FLOP/s by dtype.
        power: the most it draws; None where nobody published it. `power_is` says how that is meant.
        torch_name: a pattern for the name that torch gives it; "" where torch has no such device.
        from_memory: fields that were not looked up again.
    """

    name: str
    kind: str
    peaks: Mapping[str, Amount]
    memory: Amount | None
    source: str
    bandwidth: Amount | None = None
    power: Amount | None = None
    power_is: str = ""
    aliases: tuple[str, ...] = ()
    torch_name: str = ""
    url: str = ""
    note: str = ""
    from_memory: tuple[str, ...] = field(default=())

    @property
    def training_dtype(self) -> str:
        """The dtype that models are trained in on it: bfloat16, or float16 where it has no other of half precision."""
        return next((each for each in ("bfloat16", "float16", "float32") if each in self.peaks), "")

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values, each figure with its unit."""
        amounts = {"memory": self.memory, "bandwidth": self.bandwidth, "power": self.power}
        return {
            "name": self.name,
            "kind": self.kind,
            "peak": {dtype: peak.to_json() for dtype, peak in self.peaks.items()},
            **{name: amount and amount.to_json() for name, amount in amounts.items()},
            "power_is": self.power_is or None,
            "source": self.source,
            "url": self.url or None,
            "from_memory": list(self.from_memory),
            "note": self.note or None,
        }


@functools.cache
def accelerators() -> Mapping[str, Accelerator]:
    """Return all of the table by name; of rows whose patterns both fit a device, the first is meant."""
    rows = json.loads(Path(__file__).with_name("accelerators.json").read_bytes())
    return {row["name"]: _of_row(row) for row in rows}


def _of_row(row: Mapping[str, Any]) -> Accelerator:
    def amount(key: str, unit: str, size: float) -> Amount | None:
        return None if row[key] is None else Amount(row[key] * size, unit)

    return Accelerator(
        row["name"],
        row["kind"],
        {dtype: Amount(peak * 1e12, "FLOP/s") for dtype, peak in row["peak_tflops"].items()},
        amount("memory_gb", "bytes", 1e9),
        row["source"],
        amount("bandwidth_gb_per_s", "bytes/s", 1e9),
        amount("power_w", "W", 1),
        row.get("power_is", ""),
        tuple(row["aliases"]),
        row.get("torch_name", ""),
        row.get("url", ""),
        row.get("note", ""),
        tuple(row.get("from_memory", ())),
    )


def find_accelerator(name: str) -> Accelerator:
    """Return the accelerator that goes by a name: upper or lower case, with spaces or hyphens.

    Raises:
        UsageError: none does; the message has the nearest.
    """
    wanted = re.sub(r"[\s_]+", "-", name.strip().lower())
    names = {each: row for row in accelerators().values() for each in (row.name, *row.aliases)}
    if wanted in names:
        return names[wanted]
    guess = did_you_mean(wanted, names)
    raise UsageError(
        f"--gpu {name}: no such accelerator" + (f"; {guess}" if guess else "."),
        hint=f"There are: {', '.join(accelerators())}; {CPU} for this machine. `llmkit cost --accelerators` has them.",
    )


def accelerator_of(torch_name: str) -> Accelerator | None:
    """Return the accelerator that torch gives a name to, such as ``NVIDIA A100-SXM4-80GB``; None for an unknown one."""
    return next(
        (row for row in accelerators().values() if row.torch_name and re.search(row.torch_name, torch_name)),
        None,
    )


def peak_of(torch_name: str, dtype: str) -> float | None:
    """Return the FLOP/s of a device, by the name that torch gives it; None where they are not known."""
    found = accelerator_of(torch_name)
    peak = found.peaks.get(dtype) if found else None
    return peak.of("FLOP/s") if peak else None
