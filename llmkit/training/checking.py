"""``--check``: what a run would learn from and how, without a step of it."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired

from typing_extensions import TypedDict

from llmkit.errors import UsageError
from llmkit.models.loading import choose_device
from llmkit.training.costs import memory_of
from llmkit.training.examples import Examples, read_rows
from llmkit.training.objectives.base import Objective
from llmkit.training.objectives.batch import Draw
from llmkit.training.optimizer import trained_numbers
from llmkit.training.precision import precision_name
from llmkit.training.preparing import Data, prepare
from llmkit.training.pretending import EachDevice, pretended, rehearsed
from llmkit.training.state import Listener, Run
from llmkit.training.zero_config import is_zero

if TYPE_CHECKING:
    from llmkit.training.config import FinetuneConfig


class SetFacts(TypedDict):
    """A set of examples: lengths are in tokens, `cut` is the share of the examples that are."""

    examples: int
    tokens: int
    median_length: int
    longest: int
    cut: float
    labels: NotRequired[dict[str, int]]


class Shown(TypedDict):
    """An example as the model will see it, with its label, or a label for each token."""

    tokens: list[str] | list[list[str]]
    label: Any
    place: str


class Memory(TypedDict):
    """Bytes that each device needs, by what for; `activations` is null where they are not known."""

    weights: int
    gradients: int
    optimizer: int
    gathered: NotRequired[int]
    average: NotRequired[int]
    copies: NotRequired[int]
    activations: int | None
    total: int
    available: int
    fits: bool


class Checked(TypedDict):
    """What there is to know of a run before it begins (--check)."""

    task: str
    sets: dict[str, SetFacts]
    examples: list[Shown]
    duplicate_rows: int
    empty_rows: int
    in_train_and_validation: int
    parameters: int
    trained_parameters: int
    steps: int
    steps_an_epoch: int
    batch_size: int
    padding: float
    memory: Memory
    devices: int
    device: str
    precision: str
    each_device: NotRequired[EachDevice]


_SHOWN = 2
_STEPS_SAMPLED = 20


def check_run(
    config: FinetuneConfig, *, device: str, listener: Listener, pretend: int | None = None
) -> dict[str, Any]:
    """Make a run ready, and return what there is to know of it before it begins; nothing is written but the cache.

    Args:
        pretend: be the first of so many devices, and take a whole step.

    Returns:
        examples, labels, two examples as the model will see them, the shares that are cut and padded, training
        rows that are there before or have nothing in them, examples that training and validation share,
        parameters, the bytes that each device needs and has free, steps and devices.

    Raises:
        UsageError, DataError, ModelError: as `finetune`.
    """
    if pretend is not None and is_zero(config):
        raise UsageError(
            "--pretend-gpus does not go with sharding: deepspeed, whose engine wants devices that are there.",
            hint="--set sharding=fsdp shows what each device needs with parameters, gradients and states shared.",
        )
    with pretended(pretend) if pretend is not None else nullcontext():
        run = prepare(config, Path(config.output), device=device, listener=listener)
        found = _found(run, config, device)
        return found if pretend is None else found | {"each_device": rehearsed(run)}


def _found(run: Run, config: FinetuneConfig, device: str) -> dict[str, Any]:
    data = run.data
    sets = {"train": data.train, "validation": data.validation, "test": data.test}
    found = {name: examples for name, examples in sets.items() if examples is not None}
    return {
        "task": config.task,
        "sets": {name: _set_facts(examples, run.objective) for name, examples in found.items()},
        "examples": [
            shown(run.objective, example, Draw(config.training.seed, 0, number))
            for number, example in enumerate(data.train.take(range(min(_SHOWN, len(data.train)))))
        ],
        **_repeated_rows(config, run.objective),
        "in_train_and_validation": _shared(data),
        "parameters": sum(each.numel() for each in run.model.parameters()),
        "trained_parameters": trained_numbers(run.model),
        "steps": run.loop.steps.total,
        "steps_an_epoch": run.loop.steps.an_epoch,
        "batch_size": config.training.batch_size,
        "padding": _padding(run),
        "memory": memory_of(run, config),
        "devices": run.loop.steps.devices,
        "device": str(choose_device(device)),
        "precision": precision_name(config, device),
    }


def _set_facts(examples: Examples, objective: Objective) -> dict[str, Any]:
    lengths = sorted(examples.lengths)
    facts: dict[str, Any] = {
        "examples": len(examples),
        "tokens": sum(lengths),
        "median_length": lengths[len(lengths) // 2],
        "longest": lengths[-1],
        "cut": _cut_share(examples, objective),
    }
    names = objective.facts().get("labels")
    if names and "label" in examples.table.column_names:
        counts = Counter(label if isinstance(label, int) else None for label in examples.column("label"))
        if None not in counts:
            facts["labels"] = {name: counts[number] for number, name in enumerate(names)}
    return facts


def _cut_share(examples: Examples, objective: Objective) -> float:
    """Return the share of examples with a text as long as it may be; those with two limits say themselves."""
    if "cut" in examples.table.column_names:
        cut = sum(examples.column("cut"))
    else:
        cut = sum(longest >= objective.max_length for longest in _longest_texts(examples))
    return cut / len(examples)


def _longest_texts(examples: Examples) -> Iterator[int]:
    """Go through the tokens of the longest text of each example: of its samples if it is packed, or of its several."""
    (first,) = examples.take([0])
    if "samples" in first:
        yield from map(max, examples.column("lengths"))
    elif isinstance(first["input_ids"][0], list):
        yield from (max(map(len, texts)) for texts in examples.column("input_ids"))
    else:
        yield from examples.lengths


def shown(objective: Objective, example: dict[str, Any], draw: Draw) -> dict[str, Any]:
    """Return an example as the model will see it: its tokens, and its label or, token for token, its labels."""
    batch = objective.collate([example], [draw])  # where masks are
    texts, of = example["input_ids"], objective.tokenizer.convert_ids_to_tokens
    # Tasks that compare texts have several in an example.
    several = isinstance(texts[0], list)
    tokens = [of(ids) for ids in texts] if several else of(batch.inputs["input_ids"][0].tolist())
    return {"tokens": tokens, "label": objective.shown_label(example, batch), "place": example["place"]}


def _repeated_rows(config: FinetuneConfig, objective: Objective) -> dict[str, int]:
    """Count the training rows that are there before, and those with nothing in them."""
    import numpy

    empty = 0

    def filled() -> Iterator[str]:
        nonlocal empty
        for record in read_rows(config.data.train, config.data.format, config.data.max_rows):
            values = objective.values_of(record)
            if any(str(value).strip() for value in values.values() if value is not None):
                yield repr(sorted(values.items()))
            else:
                empty += 1

    hashes = _hashes(filled())
    return {"duplicate_rows": len(hashes) - len(numpy.unique(hashes)), "empty_rows": empty}


def _shared(data: Data) -> int:
    """Count the validation examples whose tokens are those of a training example."""
    import numpy

    if data.validation is None:
        return 0
    judged, trained = (_hashes(map(str, _samples(examples))) for examples in (data.validation, data.train))
    return int(numpy.isin(judged, trained).sum())


def _samples(examples: Examples) -> Iterator[list[Any]]:
    """Go through the tokens of each example, of a packed one those of each sample."""
    rows = examples.column("input_ids")
    if "samples" not in examples.table.column_names:
        yield from rows
        return
    for row, lengths in zip(rows, examples.column("lengths"), strict=True):
        begin = 0
        for length in lengths:
            yield row[begin : begin + length]
            begin += length


def _hashes(texts: Iterable[str]) -> Any:
    """Return a number of eight bytes for each text, (texts,): the same for the same, and for others another."""
    import numpy

    found = array("Q")
    for text in texts:
        digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()
        found.append(int.from_bytes(digest, "little"))
    return numpy.frombuffer(found, dtype=numpy.uint64) if found else numpy.zeros(0, dtype=numpy.uint64)


def _padding(run: Run) -> float:
    """Return the share of padding in what will be computed, of the first steps."""
    lengths, tokens, padded = run.data.train.lengths, 0, 0
    for number in range(min(_STEPS_SAMPLED, run.loop.steps.total)):
        for rows in run.loop.steps.at(number).micro_batches:
            tokens += sum(lengths[row] for row in rows)
            padded += len(rows) * max(lengths[row] for row in rows)
    return 1 - tokens / padded if padded else 0.0
