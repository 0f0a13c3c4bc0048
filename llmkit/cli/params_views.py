"""What ``llmkit params`` shows: sheets made of counts. How a sheet is drawn is `llmkit.cli.sheets`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING

from llmkit.architectures.count import ModelCount
from llmkit.architectures.counted import Counted
from llmkit.architectures.report import branches, tensor_formula
from llmkit.cli.sheets import Column, Sheet

if TYPE_CHECKING:
    from llmkit.architectures.catalogue import Entry

MOST_NAMED = 6


def count_sheet(count: ModelCount) -> Sheet:
    """Return the table of a model's components."""
    return Sheet(
        f"{count.label}: {count.counted.kind}, {count.counted.total:,} parameters",
        (
            Column("component"),
            Column("formula", gives_way=1),
            Column("numbers", goes_below=True, gives_way=1),
            Column("note", goes_below=True, gives_way=1),
            Column("per layer", is_number=True, gives_way=3),
            Column("×", is_number=True, gives_way=3),
            Column("layers", in_files_only=True),
            Column("total", is_number=True),
            Column("share", is_number=True, gives_way=2),
        ),
        tuple(
            (
                row.component,
                row.formula,
                row.numbers,
                row.note,
                f"{row.per_layer:,}",
                f"{row.layers:,}",
                row.layers_formula if row.layers > 1 else "",
                f"{row.total:,}",
                share(row.total, count.counted.total),
            )
            for row in count.rows
        ),
        ("total", "", "", "", "", "", "", f"{count.counted.total:,}", "100 %"),
        tuple(notes(count)),
    )


def share(part: float, whole: int) -> str:
    """Return a share as ``28.3 %``."""
    return f"{100 * part / whole:.1f} %" if whole else ""


def notes(count: ModelCount) -> Iterator[str]:
    """Go through what must be said beside the table: the head, the paper, and what is counted only once."""
    counted = count.counted
    yield head_note(counted)
    if count.settings:
        yield f"With {', '.join(f'{name}={value}' for name, value in count.settings.items())}."
    yield from _published(count)
    for tensor in counted.tied():
        names = ", ".join(_few(tensor.tied))
        yield f"Tied, counted once: {names} is {tensor.name}."
    if counted.shared_layers:
        yield counted.shared_layers
    if counted.active != counted.total:
        yield (
            f"Active: a token meets {counted.active:,} parameters "
            f"({share(counted.active, counted.total)}), the others wait for other tokens."
        )
    if counted.buffers:
        numbers = sum(prod(each.sizes) * each.copies for each in counted.buffers)
        names = ", ".join(_few([each.name for each in counted.buffers]))
        yield f"Not parameters: {numbers:,} numbers in buffers ({names})."


def head_note(counted: Counted) -> str:
    """Return which head was counted, and what the usual one adds."""
    counted_as = f"Counted: {counted.model_class}, " + (
        "without a head" if counted.head == "none" else f"with its {counted.head} head"
    )
    if counted.usual_head is None or counted.usual_head_adds is None:
        return f"{counted_as}."
    adds = counted.usual_head_adds
    change = f"adds {adds:,}" if adds >= 0 else f"takes {-adds:,} away: it leaves out more than it brings"
    return f"{counted_as}; --head {counted.usual_head} {change}."


def _published(count: ModelCount) -> Iterator[str]:
    entry = count.named.entry
    if entry is None:
        return
    source = ", ".join(filter(None, (entry.paper, str(entry.year or ""), entry.url)))
    if entry.published_text and count.is_as_published:
        yield f"Published: {entry.published_text} ({source})."
    else:
        yield f"Paper: {source}."
    if entry.note and count.is_as_published:
        yield entry.note


def _few(names: Sequence[str]) -> list[str]:
    more = len(names) - MOST_NAMED
    return [*names[:MOST_NAMED], f"{more} more"] if more > 0 else [*names]


def totals_sheet(counts: Sequence[ModelCount]) -> Sheet:
    """Return the numbers alone, a row a model."""
    rows = tuple((count.label, _number(count.counted.total)) for count in counts)
    return Sheet("Parameters", (Column("model"), Column("total", True)), rows)


def comparison_sheet(counts: Sequence[ModelCount]) -> Sheet:
    """Return models side by side, a column each."""
    by_component = [_totals(count) for count in counts]
    components = dict.fromkeys(name for totals in by_component for name in totals)
    rows = [
        ("kind", *(count.counted.kind for count in counts)),
        ("head counted", *(count.counted.head for count in counts)),
        ("published", *(published_text(count) for count in counts)),
        ("beside the first", *(f"{count.counted.total / counts[0].counted.total:.3g} ×" for count in counts)),
        *((name, *(_number(totals.get(name)) for totals in by_component)) for name in components),
        ("active a token", *(_number(count.counted.active) for count in counts)),
    ]
    if all(count.counted.active == count.counted.total for count in counts):
        rows = [row for row in rows if row[0] != "active a token"]
    return Sheet(
        "Side by side",
        (Column(""), *(Column(count.label, is_number=True) for count in counts)),
        tuple(rows),
        ("total", *(f"{count.counted.total:,}" for count in counts)),
        tuple(f"{count.label}: {note}" for count in counts for note in _what_differs(count)),
        is_comparison=True,
    )


def _totals(count: ModelCount) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for row in count.rows:
        totals[row.component] += row.total
    return dict(totals)


def _what_differs(count: ModelCount) -> Iterator[str]:
    """Go through what a person who compares must know: the head that was counted, shared layers, tied tensors."""
    yield head_note(count.counted).removeprefix("Counted: ")
    if count.counted.shared_layers:
        yield count.counted.shared_layers


def published_text(count: ModelCount) -> str:
    """Return the published figure; "" where there is none, or it is of another head."""
    entry = count.named.entry
    return entry.published_text if entry is not None and count.is_as_published else ""


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def tensors_sheet(count: ModelCount) -> Sheet:
    """Return the algebra down to every tensor: their totals are the model's."""
    return Sheet(
        f"{count.label}: {len(count.counted.tensors):,} kinds of tensors",
        (
            Column("tensor"),
            Column("formula", gives_way=1),
            Column("numbers", goes_below=True, gives_way=1),
            Column("total", is_number=True),
        ),
        tuple(
            (tensor.name, *tensor_formula(tensor), f"{tensor.total:,}") for tensor in count.counted.tensors
        ),
        ("total", "", "", f"{count.counted.total:,}"),
    )


def tree_sheet(count: ModelCount, depth: int | None) -> Sheet:
    """Return the modules, those inside others further to the right, `depth` levels of them; None for all."""
    return Sheet(
        f"{count.label}: {count.counted.model_class}",
        (
            Column("module"),
            Column("class", gives_way=2),
            Column("formula", gives_way=1),
            Column("×", is_number=True, gives_way=4),
            Column("total", is_number=True),
            Column("share", is_number=True, gives_way=3),
        ),
        tuple(
            (
                f"{'  ' * row['level']}{row['name'] or 'model'}",
                row["module_class"] if row["shape"] is None else "",
                row["formula"],
                f"{row['copies']:,}" if row["copies"] > 1 else "",
                f"{row['total']:,}",
                share(row["total"], count.counted.total),
            )
            for row in branches(count.counted, depth)
        ),
    )


def list_sheet(entries: Sequence[Entry], words: str) -> Sheet:
    """Return the catalogue, or what of it was asked for."""
    found = f" with {words}" if words else ""
    return Sheet(
        f"{len(entries)} architectures{found}",
        (
            Column("name"),
            Column("also", gives_way=1),
            Column("parameters", is_number=True),
            Column("published", is_number=True, gives_way=3),
            Column("paper", gives_way=2),
        ),
        tuple(
            (
                entry.name,
                ", ".join(entry.aliases),
                "not published" if entry.undisclosed else f"{entry.count:,}",
                entry.published_text,
                f"{entry.paper} ({entry.year})" if entry.year else entry.paper,
            )
            for entry in entries
        ),
    )
