"""What ``llmkit finetune --check`` found, for a person, as sheets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmkit.cli.answers import Answer
from llmkit.cli.cost_views import amount
from llmkit.cli.sheets import Column, Sheet

_MOST_TOKENS = 80  # of an example on a terminal
_MOST_LABELS = 40
_SET = (("examples", "examples"), ("tokens", "tokens"), ("median_length", "median"), ("longest", "longest"))


def answer_of(found: Mapping[str, Any], config: str) -> Answer:
    """Return the findings in every shape that formats are made of."""
    return Answer(
        sheets=lambda: list(sheets(found, config)),
        objects=lambda: [found],
        rows=lambda: [{"name": name, "value": value} for name, value in found.items()],
        single=True,
    )


def sheets(found: Mapping[str, Any], config: str) -> Iterator[Sheet]:
    """Go through what was found, the sets first."""
    sets = found["sets"]
    yield Sheet(
        f"{config}: {found['task']}",
        (Column("set"), *(Column(title, True) for _, title in _SET), Column("cut", True)),
        tuple(
            (name, *(f"{facts[key]:,}" for key, _ in _SET), f"{facts['cut']:.1%}")
            for name, facts in sets.items()
        ),
        notes=(f"Lengths are in tokens. {found['padding']:.1%} of what is computed is padding.",),
    )
    if any("labels" in facts for facts in sets.values()):
        yield _labels(sets)
    yield Sheet(
        "As the model will see them",
        (Column("where"), Column("tokens"), Column("learned")),
        tuple(
            (example["place"], _tokens(example["tokens"]), _learned(example)) for example in found["examples"]
        ),
    )
    yield Sheet("The run", (Column(""), Column("")), tuple(_facts(found)), notes=_warnings(found))
    if "each_device" in found:
        yield _each_device(found["each_device"], found["devices"])


def _labels(sets: Mapping[str, Any]) -> Sheet:
    counted = {name: facts["labels"] for name, facts in sets.items() if "labels" in facts}
    names = list(dict.fromkeys(label for counts in counted.values() for label in counts))
    more = len(names) - _MOST_LABELS
    return Sheet(
        "Labels",
        (Column("label"), *(Column(name, True) for name in counted)),
        tuple(
            (name, *(f"{counts.get(name, 0):,}" for counts in counted.values()))
            for name in names[:_MOST_LABELS]
        ),
        notes=(f"And {more:,} more.",) if more > 0 else (),
    )


def _tokens(tokens: Sequence[Any]) -> str:
    if tokens and isinstance(tokens[0], list):
        return " | ".join(_tokens(each) for each in tokens)
    shown = " ".join(tokens[:_MOST_TOKENS])
    return shown if len(tokens) <= _MOST_TOKENS else f"{shown} … ({len(tokens):,} tokens)"


def _learned(example: Mapping[str, Any]) -> str:
    """Return the label, or the tokens that have one: with it where it is another thing than the token."""
    label, tokens = example["label"], example["tokens"]
    if not isinstance(label, list):
        return "" if label is None else str(label)
    if len(label) != len(tokens) or isinstance(tokens[0], list):
        return _tokens([str(each) for each in label])
    pairs = [(token, each) for token, each in zip(tokens, label, strict=True) if each != ""]
    return _tokens([token if token == each else f"{token}/{each}" for token, each in pairs])


def _facts(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    memory = found["memory"]
    parts = ", ".join(
        f"{name} {amount(value, 'bytes')}"
        for name, value in memory.items()
        if name not in ("total", "available", "fits") and value is not None
    )
    yield "parameters", f"{found['parameters']:,}, {found['trained_parameters']:,} of them trained"
    yield "steps", f"{found['steps']:,} of {found['batch_size']:,} rows; {found['steps_an_epoch']:,} an epoch"
    yield (
        "memory",
        f"{amount(memory['total'], 'bytes')} of {amount(memory['available'], 'bytes')} free: {parts}",
    )
    yield "on", f"{found['devices']} × {found['device']}, {found['precision']}"
    yield "rows there twice", f"{found['duplicate_rows']:,}"
    yield "rows without a text", f"{found['empty_rows']:,}"
    if "validation" in found["sets"]:
        yield "in training and validation", f"{found['in_train_and_validation']:,}"


def _each_device(shares: Mapping[str, Any], devices: int) -> Sheet:
    """Return what each of the pretended devices has in a step, the fewest and the most."""
    rows = tuple(
        (title, *(f"{count:,}" for count in shares[key]))
        for title, key in (
            ("examples", "examples_a_step"),
            ("tokens", "tokens_a_step"),
            ("micro-batches", "micro_batches_a_step"),
        )
    )
    whole = "its share of them" if shares["sharded"] else "all of them"
    notes = [f"Each keeps {shares['own_parameters']:,} parameters: {whole}."]
    if shares["idle_devices"]:
        notes.append(
            f"{shares['idle_devices']:,} of {devices:,} devices have nothing to do in the first step."
        )
    columns = (Column("of a step"), Column("fewest", True), Column("most", True))
    return Sheet(f"Each of {devices:,} devices", columns, rows, notes=tuple(notes))


def _warnings(found: Mapping[str, Any]) -> tuple[str, ...]:
    said = []
    if not found["memory"]["fits"]:
        said.append("It needs more memory than is free.")
    if found["in_train_and_validation"]:
        said.append("Validation rows that are learned from make the figures too good.")
    return tuple(said)
