"""What goes in and out of one layer's modules while a text goes through the model, kept by hooks."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from llmkit.insight.blocks import Block


@dataclass(frozen=True, slots=True)
class Looked:
    """A table of embeddings that was looked into.

    Attributes:
        name: of its module.
        ids: (sequence), the rows that were taken.
        table: (rows, width).
        scale: what a row is multiplied with.
    """

    name: str
    ids: Tensor
    table: Tensor
    scale: float = 1.0


@dataclass(slots=True)
class Watched:
    """What was seen; sequences without their batch.

    Attributes:
        entry: (query, width), what the attention and its residual began with.
        attended: (query, width), what they gave.
        layer: (query, width), what the whole layer gave.
        mask: (query, key) or (1, key), added to the scores; None where there was none.
        rotation: cosine and sine, (query, head_size) each.
        memory: (key, width), what the encoder gave; None where the layer attends to itself.
        embeddings: the tables of embeddings, in the order in which they were looked into.
        embedding_norm: the LayerNorm after them, where there is one.
        embedding_projection: what makes them as wide as the layers, where they are not (ELECTRA, ALBERT).
    """

    entry: Tensor | None = None
    attended: Tensor | None = None
    layer: Tensor | None = None
    mask: Tensor | None = None
    rotation: tuple[Tensor, Tensor] | None = None
    memory: Tensor | None = None
    embeddings: list[Looked] = field(default_factory=list)
    embedding_norm: Any = None
    embedding_projection: Any = None


@contextmanager
def watched(stack: nn.Module, layer: nn.Module, block: Block, call: int = 0) -> Iterator[Watched]:
    """Watch one layer and the embeddings of its stack while the model computes inside the block.

    Args:
        call: how often the layer's modules are called before; of layers that share their weights.
    """
    seen = Watched()
    attended, side = block.attended
    hooks = [
        block.entry.register_forward_pre_hook(_keeps_input(seen, "entry", call), with_kwargs=True),
        layer.register_forward_hook(_keeps_output(seen, "layer", call)),
        block.attention.register_forward_pre_hook(_keeps_arguments(seen, call), with_kwargs=True),
        attended.register_forward_pre_hook(_keeps_input(seen, "attended", call), with_kwargs=True)
        if side == "input"
        else attended.register_forward_hook(_keeps_output(seen, "attended", call)),
        *_embedding_hooks(stack, seen),
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _keeps_input(seen: Watched, name: str, call: int) -> Any:
    calls = itertools.count()

    def keep(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if next(calls) == call:
            setattr(seen, name, _rows(args[0] if args else kwargs["hidden_states"]))

    return keep


def _keeps_output(seen: Watched, name: str, call: int) -> Any:
    calls = itertools.count()

    def keep(module: Any, args: tuple[Any, ...], output: Any) -> None:
        if next(calls) == call:
            setattr(seen, name, _rows(output[0] if isinstance(output, tuple) else output))

    return keep


def _rows(states: Tensor) -> Tensor:
    """Return hidden states of one text, with or without their batch (OPT), as (sequence, width)."""
    return states.detach().reshape(-1, states.shape[-1])


def _keeps_arguments(seen: Watched, call: int) -> Any:
    calls = itertools.count()

    def keep(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if next(calls) != call:
            return
        given = dict(zip(inspect.signature(module.forward).parameters, args, strict=False)) | kwargs
        mask = given.get("attention_mask", given.get("mask"))
        seen.mask = None if mask is None else mask[0, 0].detach()
        rotation = given.get("position_embeddings")
        seen.rotation = None if rotation is None else (rotation[0][0].detach(), rotation[1][0].detach())
        memory = given.get("key_value_states", given.get("encoder_hidden_states"))
        seen.memory = None if memory is None else memory[0].detach()

    return keep


_PROJECTIONS = ("embeddings_project", "embedding_hidden_mapping_in", "project_in")


def _embedding_hooks(stack: nn.Module, seen: Watched) -> list[Any]:
    """Watch the tables of embeddings that are looked into for each token, and what follows them."""
    from torch import nn

    hooks = []
    for path, module in stack.named_modules():
        parent, _, name = path.rpartition(".")
        if _is_table(module, name):
            scale = _scale_of(module, stack.get_submodule(parent), name)
            hooks.append(module.register_forward_hook(_keeps_table(seen, name, scale)))
        elif isinstance(module, nn.LayerNorm) and (
            parent.endswith("embeddings") or name == "layernorm_embedding"
        ):
            seen.embedding_norm = module
        elif isinstance(module, nn.Linear) and name in _PROJECTIONS:
            seen.embedding_projection = module
    return hooks


def _is_table(module: nn.Module, name: str) -> bool:
    from torch import nn

    # The positions of M2M-100 are a buffer of sines.
    return (isinstance(module, nn.Embedding) and "relative" not in name) or (
        name == _POSITIONS and hasattr(module, "weights")
    )


_POSITIONS = "embed_positions"


def _scale_of(table: nn.Module, owner: nn.Module, name: str) -> float:
    """Return what a table's rows are multiplied with, by itself (BART) or by the stack that it is in (Pegasus)."""
    of_owner = 1.0 if name == _POSITIONS else getattr(owner, "embed_scale", 1.0)
    return float(getattr(table, "embed_scale", of_owner))


def _keeps_table(seen: Watched, name: str, scale: float) -> Any:
    from torch import nn

    def keep(module: Any, args: tuple[Any, ...], output: Any) -> None:
        table = (module.weight if isinstance(module, nn.Embedding) else module.weights).detach()
        if name == _POSITIONS and type(module).forward is not nn.Embedding.forward:
            # It counts the positions itself, each family from another number.
            ids = _rows_found(table, _rows(output))
        elif output.dim() == 3:
            ids = args[0][0].detach()
        elif output.dim() == 2:
            ids = args[0].detach()
        else:  # a bias of relative positions
            return
        seen.embeddings.append(Looked(name, ids, table, scale))

    return keep


def _rows_found(table: Tensor, rows: Tensor) -> Tensor:
    """Return where rows (sequence, width) are in a table, (sequence)."""
    import torch

    return torch.cdist(rows, table, p=1).argmin(1)
