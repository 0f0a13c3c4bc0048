"""What ``llmkit cost`` shows: an estimate, the published runs, the table of accelerators.

Cells are made of amounts, which have no text without their unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from llmkit.cli.sheets import Column, Sheet
from llmkit.data.shapes import others
from llmkit.figures import Worked

if TYPE_CHECKING:
    from llmkit.costs.estimate import Estimate
    from llmkit.costs.published import PublishedRun
    from llmkit.figures import Figure
    from llmkit.hardware.accelerators import Accelerator
    from llmkit.units import Amount


@others(Worked)
class EstimateObject(TypedDict):
    """What a run takes, each figure under its own key: `training_flops`, `device_hours`, `energy`, …"""

    of: str
    notes: list[str]


def _text(amount: Amount | None) -> str:
    return "" if amount is None else str(amount)


def estimate_sheet(found: Estimate) -> Sheet:
    """Return the figures of an estimate, each with its bounds and its formula."""
    is_uncertain = any(each.low is not None for each in found.figures)
    bounds = (
        "Low and high: an input was assumed, or measured with a spread; each figure's source says which. "
    )
    return Sheet(
        f"What it takes: {found.label}",
        (
            Column(""),
            Column("low", is_number=True, gives_way=2),
            Column("takes", is_number=True),
            Column("high", is_number=True, gives_way=2),
            Column("formula", gives_way=1),
            Column("numbers", in_files_only=True),
            Column("source", in_files_only=True),
        ),
        tuple(
            (
                each.label,
                _text(each.low),
                _text(each.amount),
                _text(each.high),
                each.formula,
                each.numbers,
                each.source,
            )
            for each in found.figures
        ),
        notes=(
            ((bounds if is_uncertain else "") + "--format json has the numbers and the sources."),
            *found.notes,
        ),
    )


def estimate_object(found: Estimate) -> dict[str, Any]:
    """Return an estimate as plain values: each figure under its key, with its unit."""
    return {
        "of": found.label,
        **{each.key: each.to_json() for each in found.figures},
        "notes": list(found.notes),
    }


def estimate_rows(found: Estimate) -> list[dict[str, Any]]:
    """Return an estimate as rows, one a figure."""
    return [_row(each) for each in found.figures]


def _row(each: Figure) -> dict[str, Any]:
    return {
        "figure": each.key,
        "value": each.amount.value,
        "unit": each.amount.unit,
        "low": each.low and each.low.value,
        "high": each.high and each.high.value,
        "label": each.label,
        "formula": each.formula,
        "numbers": each.numbers,
        "source": each.source,
    }


def published_sheet(runs: Sequence[PublishedRun]) -> Sheet:
    """Return published runs, a row a figure, beside what the formulas give."""
    return Sheet(
        "What published runs took, and what the formulas give",
        (
            Column("run"),
            Column("figure"),
            Column("published", is_number=True),
            Column("which is"),
            Column("llmkit", is_number=True),
            Column("ratio", is_number=True),
            Column("at", gives_way=1),
            Column("source", in_files_only=True),
            Column("note", in_files_only=True),
        ),
        tuple(_published_cells(runs)),
        notes=(
            "Device hours are at the utilization that was stated for the run, else at 40 %, assumed. Energy and CO2e "
            "follow from llmkit's hours, with the power, PUE and grid that were stated.",
            *(f"{run.name}: {run.undisclosed}" for run in runs if run.undisclosed),
        ),
    )


def _published_cells(runs: Sequence[PublishedRun]) -> Iterator[tuple[str, ...]]:
    for run in runs:
        for number, each in enumerate(run.figures):
            is_of_time = each.key not in ("training_flops", "computed_flops") and each.ours is not None
            stated = _text(run.utilization) or "40 %, assumed"
            yield (
                run.name if number == 0 else "",
                each.key.replace("_", " "),
                _text(each.amount),
                each.kind,
                _text(each.ours) if each.ours is not None else "not known",
                _text(each.ratio),
                stated if is_of_time else "",
                f"{each.source}, {each.url}",
                each.note,
            )


def published_rows(runs: Sequence[PublishedRun]) -> list[dict[str, Any]]:
    """Return published runs as rows, one a figure."""
    return [
        {
            "run": run.name,
            "figure": each.key,
            "published": each.amount.value,
            "unit": each.amount.unit,
            "kind": each.kind,
            "llmkit": None if each.ours is None else each.ours.of(each.amount.unit),
            "ratio": _text(each.ratio) or None,
            "source": each.source,
            "url": each.url,
            "note": each.note,
            "undisclosed": run.undisclosed,
        }
        for run in runs
        for each in run.figures
    ]


def accelerators_sheet(rows: Sequence[Accelerator]) -> Sheet:
    """Return the table of accelerators."""
    return Sheet(
        "Accelerators",
        (
            Column("name"),
            Column("bfloat16", is_number=True),
            Column("float16", is_number=True, gives_way=2),
            Column("float32", is_number=True, gives_way=2),
            Column("memory", is_number=True),
            Column("bandwidth", is_number=True, gives_way=2),
            Column("power", is_number=True),
            Column("source", gives_way=1),
            Column("from memory", in_files_only=True),
            Column("note", in_files_only=True),
        ),
        tuple(
            (
                row.name,
                *(_text(row.peaks.get(dtype)) for dtype in ("bfloat16", "float16", "float32")),
                _text(row.memory),
                _text(row.bandwidth),
                _text(row.power),
                row.source,
                ", ".join(row.from_memory),
                row.note,
            )
            for row in rows
        ),
        notes=("Peaks are of dense matrix products. `--gpu cpu` measures this machine's.",),
    )


def accelerators_rows(rows: Sequence[Accelerator]) -> list[dict[str, Any]]:
    """Return the table of accelerators as rows, each figure as text with its unit."""
    return [
        {
            "name": row.name,
            "kind": row.kind,
            **{f"peak_{dtype}": _text(row.peaks.get(dtype)) for dtype in ("bfloat16", "float16", "float32")},
            "memory": _text(row.memory),
            "bandwidth": _text(row.bandwidth),
            "power": _text(row.power),
            "source": row.source,
            "from_memory": ", ".join(row.from_memory),
            "note": row.note,
        }
        for row in rows
    ]
