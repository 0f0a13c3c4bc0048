"""What published runs took, beside what llmkit's formulas give: the figures are in ``runs.json``, each with its source.

A figure was measured (``measured``), worked out by the run's own authors (``authors' estimate``), or by others
(``third party``). Device hours are compared at the utilization that the run's paper states; where none was stated they
are at the assumed one, and say so. Energy and CO2e follow from llmkit's own hours, with the power, the PUE and the
grid that were stated.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from llmkit.architectures.count import ModelCount, count_parameters
from llmkit.costs.choice import Choice
from llmkit.costs.estimate import Estimate, estimate
from llmkit.costs.flops import token_flops
from llmkit.hardware.accelerators import find_accelerator
from llmkit.hardware.grids import Grid
from llmkit.units import Amount, Measured

KINDS = ("measured", "authors' estimate", "third party")


class PublishedFigure(TypedDict):
    """What was published of a run beside what llmkit's formula gives; null where too little is known."""

    published: Measured
    kind: str
    llmkit: Measured | None
    ratio: Measured | None
    formula: str | None
    source: str
    url: str
    note: str | None


_Utilization = TypedDict("_Utilization", {"value": float, "unit": str, "is": str})


class PublishedObject(TypedDict):
    """A published run (--table), its figures by their keys."""

    run: str
    model: str | None
    tokens: Measured | None
    device: str | None
    utilization: _Utilization | None
    figures: dict[str, PublishedFigure]
    undisclosed: str | None
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Published:
    """One figure of a run.

    Attributes:
        kind: one of `KINDS`.
        ours: what llmkit's formula gives; None where too little is known of the run.
        ratio: ours as a share of the published.
    """

    key: str
    amount: Amount
    kind: str
    source: str
    url: str
    note: str = ""
    ours: Amount | None = None
    formula: str = ""

    @property
    def ratio(self) -> Amount | None:
        """Ours, as a multiple of what was published."""
        if self.ours is None:
            return None
        return Amount(self.ours.of(self.amount.unit) / self.amount.value, "× published")


@dataclass(frozen=True, slots=True)
class PublishedRun:
    """A run, and what was published of it.

    Attributes:
        model: its name in the catalogue; "" where its design was never published.
        utilization: the share of the peak that was stated, and where; "" where none was.
        undisclosed: what was never published.
    """

    name: str
    model: str
    tokens: Amount | None
    device: str
    figures: tuple[Published, ...]
    utilization: Amount | None = None
    utilization_is: str = ""
    undisclosed: str = ""
    notes: tuple[str, ...] = ()

    def figure(self, key: str) -> Published:
        """Return a figure by its key.

        Raises:
            KeyError: none was published.
        """
        return {each.key: each for each in self.figures}[key]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values, each figure with its unit."""
        return {
            "run": self.name,
            "model": self.model or None,
            "tokens": self.tokens and self.tokens.to_json(),
            "device": self.device or None,
            "utilization": self.utilization and {**self.utilization.to_json(), "is": self.utilization_is},
            "figures": {
                each.key: {
                    "published": each.amount.to_json(),
                    "kind": each.kind,
                    "llmkit": each.ours and each.ours.to_json(),
                    "ratio": each.ratio and each.ratio.to_json(),
                    "formula": each.formula or None,
                    "source": each.source,
                    "url": each.url,
                    "note": each.note or None,
                }
                for each in self.figures
            },
            "undisclosed": self.undisclosed or None,
            "notes": list(self.notes),
        }


@functools.cache
def _content() -> Mapping[str, Any]:
    return json.loads(Path(__file__).with_name("runs.json").read_bytes())


def published_runs() -> list[PublishedRun]:
    """Return all published runs with what llmkit's formulas give for them."""
    return [_run(row) for row in _content()["runs"]]


def _run(row: Mapping[str, Any]) -> PublishedRun:
    ours, choice = None, None
    if "model" in row:
        count = count_parameters(row["model"])
        choice = _choice(row, count)
        ours = estimate(count, choice)
    utilization = None if choice is None else choice.mfu or choice.hfu
    where = "" if utilization is None else _stated(row, choice)
    if choice is not None and choice.gpu is not None and utilization is None:
        where = "assumed: none was stated"
    notes = [row[key] for key in ("tokens_note", "mfu_note") if key in row]
    return PublishedRun(
        row["name"],
        row.get("model", ""),
        None if choice is None else choice.tokens,
        row.get("gpu", ""),
        tuple(_figure(each, ours) for each in row["published"]),
        utilization,
        where,
        _undisclosed(row),
        tuple(notes),
    )


def _stated(row: Mapping[str, Any], choice: Choice | None) -> str:
    share = "HFU" if choice is not None and choice.hfu is not None else "MFU"
    return f"{share}, {_source(row['mfu_source'])['title']}"


def _undisclosed(row: Mapping[str, Any]) -> str:
    text, source = row.get("undisclosed", ""), row.get("undisclosed_source")
    return f"{text} ({_source(source)['title']})" if source else text


def _source(key: str) -> Mapping[str, str]:
    return _content()["sources"][key]


def _choice(row: Mapping[str, Any], count: ModelCount) -> Choice:
    def amount(key: str, unit: str) -> Amount | None:
        return Amount(row[key], unit) if key in row else None

    choice = Choice(
        tokens=amount("tokens", "tokens"),
        gpu=row.get("gpu"),
        mfu=amount("mfu", "of the peak"),
        hfu=amount("hfu", "of the peak"),
        pue=amount("pue", "W/W"),
        power=amount("power_w", "W"),
        sequence_length=row["sequence_length"],
        recompute=row.get("recompute", "none"),
    )
    intensity = amount("kg_co2e_per_kwh", "kg CO2e/kWh")
    if intensity is not None:
        choice = replace(choice, grid=Grid("as stated", intensity, "as stated"))
    if "tokens_per_second" in row:
        choice = replace(choice, mfu=_utilization(row, count))
    return choice


def _utilization(row: Mapping[str, Any], count: ModelCount) -> Amount:
    """Return the MFU of a stated number of tokens a second and device."""
    accelerator = find_accelerator(row["gpu"])
    peak = accelerator.peaks[accelerator.training_dtype].of("FLOP/s")
    each = token_flops(count, row["sequence_length"]).with_attention
    return Amount(row["tokens_per_second"] * each / peak, "of the peak")


def _figure(row: Mapping[str, Any], ours: Estimate | None) -> Published:
    found = None if ours is None or not _follows(row["figure"], ours) else ours.figure(row["figure"])
    source = _source(row["source"])
    return Published(
        row["figure"],
        Amount(row["value"], row["unit"]),
        row["kind"],
        source["title"],
        source["url"],
        row.get("note", ""),
        found.amount if found else None,
        found.formula if found else "",
    )


def _follows(key: str, ours: Estimate) -> bool:
    """Whether a figure follows from what was stated: CO2e only where the grid was."""
    if key != "emissions":
        return True
    emissions = ours.figure("emissions")
    return emissions is not None and "as stated" in emissions.label
