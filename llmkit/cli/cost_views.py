"""What ``llmkit params`` shows of costs: memory, compute, adapters, what fits, and a checkpoint beside its config."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from llmkit.cli.cost_notes import batch_words, cost_notes, left_head_note
from llmkit.cli.sheets import Column, Sheet

if TYPE_CHECKING:
    from llmkit.architectures.checkpoint import Difference, Report
    from llmkit.architectures.count import ModelCount
    from llmkit.architectures.counted import Quantity
    from llmkit.architectures.report import Costs

_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")
# A person sees what is mostly done; JSON has the others too.
_CHECKPOINTING = re.compile(r"_checkpointing")
_CONTEXT = ", at "  # in a label: KV cache, at 1,024 tokens
_SHOWN_TRAINING = ("training_mixed", "training_lora", "training_qlora")


def amount(value: float, unit: str) -> str:
    """Return a figure with the prefix that keeps it readable, of 1000 each: ``13.48 GB``, ``40.4 GFLOPs``."""
    power = 0
    while abs(value) >= 999.995 and power < len(_PREFIXES) - 1:
        value, power = value / 1000, power + 1
    text = f"{value:.2f}" if power else f"{value:,.0f}"
    return f"{text} {_PREFIXES[power]}{'B' if unit == 'bytes' else unit}"


def costs_sheet(count: ModelCount, costs: Costs) -> Sheet:
    """Return what a model costs, each figure with its formula; GB are of 10^9 bytes."""
    return Sheet(
        f"{count.label}: what it costs, at a batch of {batch_words(count.counted, costs)}",
        (
            Column(""),
            Column("needs", is_number=True),
            Column("checkpointed", is_number=True, gives_way=2),
            Column("formula", gives_way=1),
            Column("numbers", in_files_only=True),
            Column("source", in_files_only=True),
        ),
        tuple(
            (
                plain.label,
                _amount(plain),
                _amount(checkpointed) if checkpointed else "",
                plain.formula,
                plain.numbers,
                plain.source,
            )
            for plain, checkpointed in _shown(costs).values()
        ),
        notes=(
            "GB are 10^9 bytes. Training is with AdamW; checkpointed: with gradient checkpointing. "
            "--format json has the numbers and the sources.",
            *cost_notes(count, costs),
        ),
    )


def _amount(quantity: Quantity) -> str:
    return amount(quantity.value, quantity.unit)


def _shown(costs: Costs) -> dict[str, tuple[Quantity, Quantity | None]]:
    """Return the figures for a person by their keys, each with the same under gradient checkpointing."""
    by_key = {each.key: each for each in (*costs.memory, *costs.kv_cache, *costs.compute) if _is_shown(each)}
    checkpointed = {
        _CHECKPOINTING.sub("", key): each for key, each in by_key.items() if _CHECKPOINTING.search(key)
    }
    return {
        key: (each, checkpointed.get(key)) for key, each in by_key.items() if not _CHECKPOINTING.search(key)
    }


def _is_shown(quantity: Quantity) -> bool:
    if quantity.key.startswith("activations"):
        return False
    return not quantity.key.startswith("training") or quantity.key.startswith(_SHOWN_TRAINING)


def costs_comparison_sheet(found: Sequence[tuple[ModelCount, Costs]]) -> Sheet:
    """Return what models cost side by side, a column each."""
    columns = [{key: plain for key, (plain, _) in _shown(costs).items()} for _, costs in found]
    keys = dict.fromkeys(key for column in columns for key in column)
    batches = [batch_words(count.counted, costs) for count, costs in found]
    is_alike = len(set(batches)) == 1
    return Sheet(
        f"What they cost, at a batch of {batches[0]}" if is_alike else "What they cost",
        (Column(""), *(Column(count.label, is_number=True) for count, _ in found)),
        (
            *([] if is_alike else [("at a batch of", *batches)]),
            *(row for key in keys for row in _compared([column.get(key) for column in columns])),
        ),
        notes=tuple(note for count, costs in found for note in cost_notes(count, costs)),
        is_comparison=True,
    )


def _compared(quantities: Sequence[Quantity | None]) -> Iterator[tuple[str, ...]]:
    """Return a figure of several models as a row; after one of their contexts, where those are not the same."""
    # Which modules LoRA adapts differs with the model.
    labels = ["" if each is None else each.label.partition(" on ")[0] for each in quantities]
    label = next(filter(None, labels))
    if len({*filter(None, labels)}) > 1:
        label = label.partition(_CONTEXT)[0]
        yield (
            f"tokens in the {label}",
            *(each.partition(_CONTEXT)[2].removesuffix(" tokens") for each in labels),
        )
    yield label, *("" if each is None else _amount(each) for each in quantities)


def lora_sheet(count: ModelCount) -> Sheet:
    """Return the adapters of a model, a kind of module each."""
    lora = count.lora
    assert lora is not None
    percent = f"{100 * lora.trainable / lora.total:.3g} %"
    return Sheet(
        f"{count.label}: LoRA r={lora.spec.r} on {', '.join(lora.targets)}: {lora.trainable:,} trainable",
        (
            Column("module"),
            Column("formula", gives_way=1),
            Column("numbers", goes_below=True, gives_way=1),
            Column("trainable", is_number=True),
        ),
        tuple((row.module, row.formula, row.numbers, f"{row.trainable:,}") for row in lora.rows),
        ("trainable", "", percent, f"{lora.trainable:,}"),
        (
            f"With the adapters the model has {lora.total:,} parameters; {percent} of them are trained.",
            *([lora.note] if lora.note else []),
        ),
    )


_VERDICTS = {True: "yes", False: "no", None: "unknown"}


def fits_sheet(count: ModelCount, costs: Costs) -> Sheet:
    """Return which ways to run and to train a model fit a memory."""
    from llmkit.architectures.fitting import HEADROOM

    assert costs.memory_size is not None
    verdicts = [fit.fits for fit in costs.fits]
    fitting, unknown = verdicts.count(True), verdicts.count(None)
    able = f"{fitting} of {len(verdicts)} ways fit" if fitting or unknown else "no way fits"
    able += f", {unknown} unknown" if unknown else ""
    return Sheet(
        f"{count.label} in {amount(costs.memory_size, 'bytes')}: {able}",
        (
            Column("to"),
            Column("needs", is_number=True),
            Column("fits"),
            Column("left", is_number=True, gives_way=2),
            Column("largest batch", is_number=True, gives_way=1),
        ),
        tuple(
            (
                fit.label if fit.label.startswith("run") else f"train, {fit.label}",
                amount(fit.needed, "bytes"),
                _VERDICTS[fit.fits],
                amount(fit.left, "bytes"),
                "" if fit.largest_batch is None else f"{fit.largest_batch:,}",
            )
            for fit in costs.fits
        ),
        notes=(
            f"At a batch of {batch_words(count.counted, costs)}, beside {HEADROOM}.",
            *cost_notes(count, costs),
        ),
    )


def checkpoint_sheet(count: ModelCount, report: Report) -> Sheet:
    """Return a checkpoint beside the architecture: its numbers, its dtypes, and every difference."""
    rows = tuple(_differences(report))
    title = f"{report.place}: {report.total:,} numbers in the checkpoint, {report.expected:,} by the config"
    return Sheet(
        title,
        ()
        if not rows
        else (
            Column("in the checkpoint"),
            Column("tensor"),
            Column("copies", is_number=True, gives_way=2),
            Column("shape", is_number=True, gives_way=1),
            Column("numbers", is_number=True),
        ),
        rows,
        notes=(*_checkpoint_notes(report), *left_head_note(count, report)),
    )


def _differences(report: Report) -> Iterator[tuple[str, ...]]:
    groups: Sequence[tuple[str, Sequence[Difference]]] = (
        ("missing", report.missing),
        ("other shape", report.reshaped),
        ("kept though tied", report.duplicates),
        ("more", [each for each in report.extra if not each.reason]),
        ("buffer", [each for each in report.extra if each.reason]),
    )
    for what, differences in groups:
        for each in differences:
            shape = _shape(each.shape)
            if each.expected is not None:
                shape = f"{shape}, not {_shape(each.expected)}"
            yield what, each.name, f"{each.copies:,}", shape, f"{each.numbers:,}"


def _shape(shape: Sequence[int]) -> str:
    return " × ".join(f"{size:,}" for size in shape) or "a number"


_KINDS = {
    "adapter": "It is an adapter: its numbers come on top of the model's, and are not held against them.",
    "packed": "It is packed or quantized: several weights lie in one number, so its count is not the model's.",
}


def _checkpoint_notes(report: Report) -> Iterator[str]:
    dtypes = ", ".join(f"{numbers:,} in {dtype}" for dtype, numbers in report.dtypes.items())
    files = f"{len(report.files)} files" if len(report.files) != 1 else report.files[0]
    yield f"{amount(report.size, 'bytes')} in {files}: {dtypes}."
    if report.kind in _KINDS:
        yield _KINDS[report.kind]
    elif report.agrees:
        yield "It has each parameter of the architecture once, in the same shape."
    if report.duplicates:
        numbers = sum(each.numbers for each in report.duplicates)
        yield (
            f"The config ties {numbers:,} numbers that the checkpoint keeps a second time; "
            "where they differ, transformers loads them untied."
        )
    if report.converted:
        yield f"{report.converted:,} tensors are joined or renamed when transformers loads them; their numbers agree."
