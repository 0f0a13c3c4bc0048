"""Figures with their units: an amount cannot be made, read, printed or kept without one.

An amount is in a unit of the table below. Each unit belongs to a kind (`energy`, `time`, …) and amounts of one kind
can be put into each other's units; what has another kind, or none, is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from typing_extensions import TypedDict

from llmkit.errors import UsageError, did_you_mean
from llmkit.wanted import should_be

_COUNTS = ("", "k", "M", "B", "T")  # as people count tokens and parameters
_SI = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
_METRIC = 1000
_READABLE = 1e15


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit.

    Attributes:
        kind: what it measures; units of one kind convert by `size`.
        prefixes: what may stand before it for a person; empty for none.
        joined: the prefix is the unit's (``kWh``), not the number's (``15 T tokens``).
    """

    kind: str
    size: float = 1.0
    prefixes: tuple[str, ...] = ()
    joined: bool = True


UNITS: Mapping[str, Unit] = {
    "tokens": Unit("tokens", prefixes=_COUNTS, joined=False),
    "parameters": Unit("parameters", prefixes=_COUNTS, joined=False),
    "tokens/parameter": Unit("tokens a parameter"),
    "steps": Unit("steps"),
    "FLOPs": Unit("compute"),
    "FLOP/s": Unit("speed", prefixes=_SI),
    "bytes": Unit("memory", prefixes=_SI),
    "bytes/s": Unit("bandwidth", prefixes=_SI),
    "devices": Unit("devices"),
    "device hours": Unit("device time", prefixes=_COUNTS, joined=False),
    "s": Unit("time"),
    "h": Unit("time", 3600),
    "days": Unit("time", 86400),
    "tokens/s": Unit("throughput"),
    "W": Unit("power"),
    "Wh": Unit("energy", prefixes=_SI),
    "kWh": Unit("energy", 1e3),
    "MWh": Unit("energy", 1e6),
    "g CO2e": Unit("emissions"),
    "kg CO2e": Unit("emissions", 1e3),
    "t CO2e": Unit("emissions", 1e6),
    "kg CO2e/kWh": Unit("intensity"),
    "g CO2e/kWh": Unit("intensity", 1e-3),
    "USD": Unit("money"),
    "USD/device hour": Unit("price"),
    "of the peak": Unit("utilization"),
    "of the resamples": Unit("confidence level"),
    "W/W": Unit("overhead"),
    "× published": Unit("ratio"),
    "× planned": Unit("ratio"),
}
_SHORTER = {"device hours": "device h", "bytes": "B", "bytes/s": "B/s"}
_ENERGY = Unit("energy", prefixes=("", "k", "M"))  # 1,287 MWh, as it is always quoted
# What a person reads large and small amounts in, the largest first.
_READ_IN = {"time": ("days", "h", "s"), "emissions": ("t CO2e", "kg CO2e", "g CO2e")}


class Measured(TypedDict):
    """An amount as JSON has it."""

    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Amount:
    """A number with its unit; it is no number by itself, and has no text without the unit.

    Raises:
        ValueError: the unit is none of `UNITS`, or the number is not finite.
    """

    value: float
    unit: str

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"no unit: {self.unit!r}")
        if not math.isfinite(self.value):
            raise ValueError(f"no amount: {self.value!r} {self.unit}")

    def of(self, unit: str) -> float:
        """Return the number of another unit of the same kind: the one way to a bare number.

        Raises:
            ValueError: the unit is of another kind.
        """
        mine, other = UNITS[self.unit], UNITS[unit]
        if mine.kind != other.kind:
            raise ValueError(f"{self.unit} are no {unit}")
        return self.value * mine.size / other.size

    def __str__(self) -> str:
        unit = UNITS[self.unit]
        if unit.kind in _READ_IN:
            return _in_fitting(self, _READ_IN[unit.kind])
        if self.unit in _WRITTEN:
            return _WRITTEN[self.unit](self.value)
        if unit.kind == "energy":
            return _prefixed(self.of("Wh"), "Wh", _ENERGY)
        return _prefixed(self.value, _SHORTER.get(self.unit, self.unit), unit)

    def __format__(self, spec: str) -> str:
        if spec:
            raise ValueError("an amount is not formatted as a number: it would lose its unit")
        return str(self)

    def to_json(self) -> Measured:
        """Return the number beside its unit."""
        return {"value": self.value, "unit": self.unit}


def _in_fitting(amount: Amount, units: tuple[str, ...]) -> str:
    unit = next((each for each in units if abs(amount.of(each)) >= 1), units[-1])
    return f"{_short(amount.of(unit))} {unit}"


def _short(value: float) -> str:
    """Return three digits that count, and all of a number's digits before the point, unless there are too many."""
    if value == 0:
        return "0"
    if abs(value) >= _READABLE:
        return f"{value:.2e}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}" if digits <= 6 else f"{value:.2e}"


def _prefixed(value: float, name: str, unit: Unit) -> str:
    if not unit.prefixes:
        return f"{_short(value) if value % 1 or abs(value) >= _READABLE else f'{value:,.0f}'} {name}"
    power = 0
    while abs(value) >= 999.5 and power < len(unit.prefixes) - 1:
        value, power = value / _METRIC, power + 1
    prefix = unit.prefixes[power]
    if not power and value % 1 == 0:
        return f"{value:,.0f} {name}"
    return f"{_short(value)} {prefix}{name}" if unit.joined else f"{_short(value)}{prefix} {name}"


def _decimals(value: float, digits: int) -> str:
    """Return a number with so many decimals; with three digits that count where those would all be zeros."""
    return _short(value) if 0 < value < 0.5 * 10**-digits else f"{value:,.{digits}f}"


def _flops(value: float) -> str:
    digits, exponent = f"{value:.2e}".split("e")
    return f"{digits}e{int(exponent)} FLOPs"


_WRITTEN = {
    "FLOPs": _flops,
    "of the peak": lambda value: f"{_decimals(100 * value, 1)} % of the peak",
    "of the resamples": lambda value: f"{_decimals(100 * value, 1)} % of the resamples",
    "USD": lambda value: f"{_short(value)} USD" if value >= 100 else f"{_decimals(value, 2)} USD",
    "× published": lambda value: f"{value:.3f} ×",
    "× planned": lambda value: f"{value:.2f} ×",
}


# ---- reading


@dataclass(frozen=True, slots=True)
class Reading:
    """How a person writes amounts for an option.

    Attributes:
        unit: what is read.
        endings: what may follow the number, in lower case, and how much of `unit` it is; "" where none need follow.
        examples: what a good one looks like.
    """

    unit: str
    endings: Mapping[str, float]
    examples: str


def _counted(*names: str) -> dict[str, float]:
    sizes = {"k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6, "b": 1e9, "billion": 1e9}
    sizes |= {"t": 1e12, "trillion": 1e12}
    return {word + name: size for word, size in sizes.items() for name in ("", *names)} | dict.fromkeys(
        names, 1.0
    )


_FLOPS = {
    f"{prefix}flop{ending}": 1000.0**power
    for power, prefix in enumerate(map(str.lower, _SI))
    for ending in ("", "s")
}
_BYTES = {
    f"{letter}{middle}b": base**power
    for middle, base in (("", 1000.0), ("i", 1024.0))
    for power, letter in enumerate("mgt", 2)
}
TOKENS = Reading("tokens", _counted("tokens", "token"), "15T, 300B or 2000000tokens")
DEVICE_HOURS = Reading(
    "device hours",
    {
        prefix + name: size
        for prefix, size in {"": 1.0, "k": 1e3, "m": 1e6}.items()
        for name in ("gpuh", "gpuhours", "gpu-hours", "devicehours", "tpuh", "chiph")
    },
    "100gpuh",
)
MONEY = Reading("USD", {"usd": 1, "$": 1, "kusd": 1e3, "musd": 1e6}, "5000usd")
COMPUTE = Reading("FLOPs", _FLOPS, "1e23flops")
PRICE = Reading(
    "USD/device hour", {"": 1, "usd": 1, "usd/h": 1, "usd/gpuh": 1, "$": 1, "$/h": 1}, "2.5 or 2.5usd/h"
)
INTENSITY = Reading(
    "kg CO2e/kWh", {"": 1, "kg": 1, "kg/kwh": 1, "g": 1e-3, "g/kwh": 1e-3}, "us, fr, world, 0.385 or 385g/kWh"
)
SHARE = Reading("of the peak", {"": 1, "%": 0.01}, "0.4 or 40%")
CONFIDENCE = Reading("of the resamples", SHARE.endings, "0.95 or 95%")
OVERHEAD = Reading("W/W", {"": 1}, "1.1")
POWER = Reading("W", {"w": 1, "kw": 1e3}, "400W")
MEMORY = Reading("bytes", _BYTES, "24GB or 24GiB")

# No amount of anything is beyond these, and what is worked out of several such stays a number.
_LEAST, _MOST = 1e-40, 1e40
_NUMBER = re.compile(
    r"\s*(\$?)\s*([+-]?(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?)\s*(.*?)\s*", re.IGNORECASE
)


def parse(text: str, option: str, *readings: Reading) -> Amount:
    """Return the amount that a text says, in the unit of the reading it goes by.

    Args:
        option: where it was said, for the message.
        readings: how it may be written; the first whose unit follows the number is taken.

    Raises:
        UsageError: it is no number, has no unit or another one, or is not above 0, or beyond any bounds.
    """
    found = _NUMBER.fullmatch(text)
    examples = "; ".join(reading.examples for reading in readings)
    hint = f"Write it as {examples}."
    if found is None:
        raise should_be(f"{option} {text or repr(text)}", "a number", hint=hint)
    sign, number, written = found.groups()
    ending = re.sub(r"\s+", "", written.lower())
    if sign and not (ending and any({sign, ending} <= set(reading.endings) for reading in readings)):
        ending, written = sign + ending, sign + written  # $5000 and $2.5/h; $5000 USD says it twice
    for reading in readings:
        if ending in reading.endings:
            value, factor = float(number.replace("_", "")), reading.endings[ending]
            # Divided, so that 95% is 0.95 to the last bit.
            value = value * factor if factor >= 1 else value / round(1 / factor)
            if value <= 0:
                raise should_be(f"{option} {text}", "above 0", hint=hint)
            if not _LEAST <= value <= _MOST:
                size = "small" if value < 1 else "large"
                raise UsageError(f"{option} {text}: it is too {size} to be meant.", hint=hint)
            return Amount(value, reading.unit)
    if not ending:
        raise UsageError(f"{option} {text}: {number} of what? It has no unit.", hint=hint)
    if ending.lstrip("$").startswith(","):
        raise UsageError(f"{option} {text}: a comma is no decimal point.", hint=hint)
    known = [each for reading in readings for each in reading.endings if len(each) > 1]
    guess = did_you_mean(ending, known)
    raise UsageError(
        f"{option} {text}: no such unit as '{written}'" + (f"; {guess}" if guess else "."), hint=hint
    )
