"""All that is known of a count, its costs worked out: as objects for the command, as plain values for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from llmkit.architectures import compute, memory
from llmkit.architectures.cost_choice import CostChoice, check_choice
from llmkit.architectures.counted import Counted, Dimension, Quantity, Tensor

if TYPE_CHECKING:
    from llmkit.architectures.catalogue import Entry
    from llmkit.architectures.checkpoint import Report as CheckpointReport
    from llmkit.architectures.count import ModelCount
    from llmkit.architectures.fitting import Fit
    from llmkit.architectures.lora import LoraCount
    from llmkit.architectures.tree import Node


@dataclass(frozen=True, slots=True)
class Costs:
    """What a model costs: `fits` is empty where no memory was named.

    Attributes:
        has_asked_length: the sequence length was named, not left to the model.
    """

    batch_size: int
    sequence_length: int
    context: int
    memory: tuple[Quantity, ...]
    kv_cache: tuple[Quantity, ...]
    compute: tuple[Quantity, ...]
    memory_size: int | None = None
    fits: tuple[Fit, ...] = ()
    has_asked_length: bool = False


def costs_of(count: ModelCount, choice: CostChoice) -> Costs:
    """Work out what a counted model costs.

    Raises:
        UsageError: a size below 1.
    """
    check_choice(choice)
    counted, tokens = count.counted, choice.tokens(count.counted)
    context = choice.context or counted.context or tokens
    spec = count.lora.spec if count.lora else None
    batch = choice.batch_size
    training = memory.training(counted, batch_size=batch, sequence_length=tokens, lora=spec)
    fits: list[Fit] = []
    if choice.memory_size is not None:
        from llmkit.architectures import fitting

        fits = fitting.fits(counted, choice.memory_size, batch_size=batch, sequence_length=tokens, lora=spec)
    return Costs(
        batch,
        tokens,
        context,
        (*memory.weights(counted), *training),
        tuple(memory.kv_cache(counted, context=context, batch_size=batch)),
        tuple(compute.flops(counted, sequence_length=tokens)),
        choice.memory_size,
        tuple(fits),
        choice.sequence_length is not None,
    )


def count_as_json(count: ModelCount) -> dict[str, Any]:
    """Return a count as plain values: what it is, its components, and every tensor."""
    from llmkit.architectures.tree import tree

    counted, entry = count.counted, count.named.entry
    return {
        "model": count.label,
        "total": count.total,
        "active": counted.active,
        "trainable": count.trainable,
        "kind": counted.kind,
        "head": counted.head,
        "usual_head": counted.usual_head,
        "usual_head_adds": counted.usual_head_adds,
        "model_type": counted.model_type,
        "model_class": counted.model_class,
        "published": entry.published if entry and count.is_as_published else None,
        "published_text": entry.published_text if entry and count.is_as_published else None,
        "paper": {"title": entry.paper, "year": entry.year, "url": entry.url} if entry else None,
        "context": counted.context,
        "vocabulary": counted.vocabulary,
        "shared_layers": counted.shared_layers or None,
        "settings": dict(count.settings),
        "components": [asdict(row) for row in count.rows],
        "tensors": [tensor_as_json(tensor) for tensor in counted.tensors],
        "tree": asdict(tree(counted)),
        "tied": [[tensor.name, *tensor.tied] for tensor in counted.tied()],
        "buffers": [asdict(buffer) for buffer in counted.buffers],
        "config": dict(counted.config),
        "lora": lora_as_json(count.lora) if count.lora else None,
    }


def costs_as_json(costs: Costs) -> dict[str, Any]:
    """Return the costs as plain values, each with its formula and its source."""
    fits = None
    if costs.memory_size is not None:
        from llmkit.architectures.fitting import HEADROOM

        ways = [{**asdict(fit), "fits": fit.fits, "left": fit.left} for fit in costs.fits]
        fits = {"memory": costs.memory_size, "headroom": HEADROOM, "ways": ways}
    return {
        "batch_size": costs.batch_size,
        "sequence_length": costs.sequence_length,
        "memory": _plain(costs.memory),
        "kv_cache": _plain(costs.kv_cache),
        "compute": _plain(costs.compute),
        "fits": fits,
    }


def tensor_as_json(tensor: Tensor) -> dict[str, Any]:
    """Return a tensor as plain values, its formula in the config's names and in numbers."""
    formula, numbers = tensor_formula(tensor)
    return {
        "name": tensor.name,
        "shape": list(tensor.sizes),
        "copies": tensor.copies,
        "total": tensor.total,
        "formula": formula,
        "numbers": numbers,
        "component": tensor.component,
        "module_class": tensor.module_class,
        "stack": tensor.stack or None,
        "uses": tensor.uses,
        "active": tensor.active,
        "is_head": tensor.is_head,
        "tied": list(tensor.tied),
    }


def tensor_formula(tensor: Tensor) -> tuple[str, str]:
    """Return the algebra of all copies of a tensor: in the config's names, and in numbers."""
    factors = (*tensor.repeats, *tensor.shape)
    names = " × ".join(_factor(each) for each in factors)
    return names or "1", " × ".join(f"{each.size:,}" for each in factors) or "1"


def _factor(dimension: Dimension) -> str:
    from llmkit.architectures.algebra import Chain, parse

    try:
        expression = parse(dimension.formula)
    except ValueError:
        return dimension.formula
    is_sum = isinstance(expression, Chain) and expression.is_sum
    divides = isinstance(expression, Chain) and any(operator == "/" for operator, _ in expression.rest)
    return f"({dimension.formula})" if is_sum or divides else dimension.formula


def branches(counted: Counted, depth: int | None = None) -> Iterator[dict[str, Any]]:
    """Go through the tree of modules and tensors, each with how deep it is in it, the model itself at 0."""
    from llmkit.architectures.tree import tree

    def walk(node: Node, path: str, level: int) -> Iterator[dict[str, Any]]:
        yield {
            "level": level,
            "name": node.name,
            "path": path,
            "module_class": node.module_class,
            "copies": node.copies,
            "shape": None if node.shape is None else list(node.shape),
            "formula": node.formula,
            "total": node.total,
        }
        for child in node.children:
            yield from walk(child, f"{path}.{child.name}".lstrip("."), level + 1)

    yield from walk(tree(counted, depth), "", 0)


def lora_as_json(lora: LoraCount) -> dict[str, Any]:
    """Return adapters as plain values."""
    return {
        "r": lora.spec.r,
        "alpha": lora.spec.alpha,
        "targets": list(lora.targets),
        "trainable": lora.trainable,
        "total": lora.total,
        "share": lora.trainable / lora.total,
        "note": lora.note or None,
        "modules": [asdict(row) for row in lora.rows],
    }


def checkpoint_as_json(report: CheckpointReport) -> dict[str, Any]:
    """Return what was found in a checkpoint as plain values."""
    return {**asdict(report), "agrees": report.agrees}


def _plain(quantities: Iterable[Quantity]) -> list[Mapping[str, Any]]:
    return [asdict(quantity) for quantity in quantities]


def entry_as_json(entry: Entry) -> dict[str, Any]:
    """Return an entry of the catalogue as plain values."""
    return {
        "model": entry.name,
        "aliases": list(entry.aliases),
        "family": entry.family,
        "model_type": entry.config.get("model_type"),
        "total": entry.count or None,
        "published": entry.published,
        "published_text": entry.published_text or None,
        "paper": entry.paper,
        "year": entry.year,
        "url": entry.url,
        "hub_id": entry.hub_id or None,
        "undisclosed": entry.undisclosed or None,
    }
