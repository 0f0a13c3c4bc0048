"""Two forms of one model, compared on examples: the numbers that they give, not what is made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import LlmkitError
from llmkit.models.tokenizing import token_limit
from llmkit.tasks.blanks import with_mask
from llmkit.tasks.catalogue import Kind, Task

if TYPE_CHECKING:
    import torch

Encoded = Mapping[str, "torch.Tensor"]
Computed = Mapping[str, "torch.Tensor"]
Computing = Callable[[Encoded], Computed]

_MOST = 32  # examples that are computed twice
_SHOWN = 60  # characters of an example


@dataclass(frozen=True, slots=True)
class Example:
    """A text, or two, as a model takes it: tensors of one row each, (1, tokens)."""

    shown: str
    encoded: Encoded


@dataclass(frozen=True, slots=True)
class Compared:
    """How far apart two forms of a model are on one example.

    Attributes:
        tokens: in the example.
        largest: the largest absolute difference of any two numbers of the outputs.
        scale: the largest absolute number in the original's outputs.
        same: every row of logits has its largest number at the same place.
    """

    shown: str
    tokens: int
    largest: float
    scale: float
    same: bool


def encode_examples(
    task: Task, rows: Iterable[Mapping[str, Any]], tokenizer: Any, config: Any
) -> list[Example]:
    """Return rows of a task's fields as a model takes them; of a field with several texts each by itself."""
    found: dict[tuple[str, ...], None] = {}
    for row in rows:
        fields = [each for each in task.fields if each.kind is Kind.TEXT and not each.parameter]
        texts = [row[each.name] for each in fields if row.get(each.name)]
        if any(isinstance(text, list) for text in texts):
            several = [one for text in texts for one in (text if isinstance(text, list) else [text])]
            found |= {(one,): None for one in several}
        elif texts:
            found[tuple(map(str, texts))] = None
    limit = token_limit(config, tokenizer)
    return [_encoded(task, texts, tokenizer, limit) for texts in list(found)[:_MOST]]


def _encoded(task: Task, texts: Sequence[str], tokenizer: Any, limit: int | None) -> Example:
    if task.has_blank:
        texts = [with_mask(text, tokenizer.mask_token) for text in texts]
    encoded = tokenizer(*texts, truncation=limit is not None, max_length=limit, return_tensors="pt")
    shown = " | ".join(texts)
    return Example(shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…", dict(encoded))


def compare(examples: Sequence[Example], original: Computing, other: Computing) -> list[Compared]:
    """Return the differences of two forms of a model.

    Raises:
        LlmkitError: the other form gives no numbers, or outputs of another shape.
    """
    return [_compare_one(example, original(example.encoded), other(example.encoded)) for example in examples]


def _compare_one(example: Example, original: Computed, other: Computed) -> Compared:
    largest, scale, same = 0.0, 0.0, True
    for name, value in original.items():
        found = other.get(name)
        if found is None or found.shape != value.shape:
            shape = "none" if found is None else tuple(found.shape)
            raise LlmkitError(
                f"the exported model gives another output: {name} should be {tuple(value.shape)}, and is {shape}."
            )
        difference = (value.float() - found.float()).abs().max().item()
        if math.isnan(difference):
            raise LlmkitError(f"the exported model gives no numbers for {name} of: {example.shown}")
        largest, scale = max(largest, difference), max(scale, value.float().abs().max().item())
        if "logits" in name:
            same = same and bool((value.argmax(-1) == found.argmax(-1)).all())
    tokens = int(example.encoded["input_ids"].shape[-1])
    return Compared(example.shown, tokens, largest, scale, same)


def tensors_of(output: Any) -> Computed:
    """Return what a model computed, by name: logits or hidden states, no caches and no nested outputs."""
    import torch

    return {name: value for name, value in output.items() if isinstance(value, torch.Tensor)}
