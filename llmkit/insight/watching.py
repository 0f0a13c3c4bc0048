"""What goes in and out of one layer's modules while a text goes through the model, kept by hooks."""

from __future__ import annotations

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
    """

    name: str
    ids: Tensor
    table: Tensor


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
        embedding_projection: what makes them as wide as the layers, where they are not (ELECTRA).
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
def watched(stack: nn.Module, layer: nn.Module, block: Block) -> Iterator[Watched]:
    """Watch one layer and the embeddings of its stack while the model computes inside the block."""
    seen = Watched()
    attended, side = block.attended
    hooks = [
        block.entry.register_forward_pre_hook(_keeps_input(seen, "entry"), with_kwargs=True),
        layer.register_forward_hook(_keeps_output(seen, "layer")),
        block.attention.register_forward_pre_hook(_keeps_arguments(seen), with_kwargs=True),
        attended.register_forward_pre_hook(_keeps_input(seen, "attended"), with_kwargs=True)
        if side == "input"
        else attended.register_forward_hook(_keeps_output(seen, "attended")),
        *_embedding_hooks(stack, seen),
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _keeps_input(seen: Watched, name: str) -> Any:
    def keep(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if getattr(seen, name) is None:
            setattr(seen, name, (args[0] if args else kwargs["hidden_states"])[0].detach())

    return keep


def _keeps_output(seen: Watched, name: str) -> Any:
    def keep(module: Any, args: tuple[Any, ...], output: Any) -> None:
        if getattr(seen, name) is None:
            setattr(seen, name, (output[0] if isinstance(output, tuple) else output)[0].detach())

    return keep


def _keeps_arguments(seen: Watched) -> Any:
    def keep(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        mask = kwargs.get("attention_mask", kwargs.get("mask"))
        seen.mask = None if mask is None else mask[0, 0].detach()
        rotation = kwargs.get("position_embeddings")
        seen.rotation = None if rotation is None else (rotation[0][0].detach(), rotation[1][0].detach())
        memory = kwargs.get("key_value_states")
        seen.memory = None if memory is None else memory[0].detach()

    return keep


def _embedding_hooks(stack: nn.Module, seen: Watched) -> list[Any]:
    """Watch the tables of embeddings that are looked into for each token, and the norm that follows them in BERT."""
    from torch import nn

    def keep_table(name: str) -> Any:
        def keep(module: Any, args: tuple[Any, ...], output: Any) -> None:
            ids = args[0]
            if output.dim() == 3:  # a bias of relative positions has no batch
                seen.embeddings.append(Looked(name, ids[0].detach(), module.weight.detach()))
            elif output.dim() == 2:
                seen.embeddings.append(Looked(name, ids.detach(), module.weight.detach()))

        return keep

    hooks = []
    for path, module in stack.named_modules():
        name = path.rpartition(".")[2]
        if isinstance(module, nn.Embedding) and "relative" not in name:
            hooks.append(module.register_forward_hook(keep_table(name)))
        elif isinstance(module, nn.LayerNorm) and path.rpartition(".")[0].endswith("embeddings"):
            seen.embedding_norm = module
        elif isinstance(module, nn.Linear) and name == "embeddings_project":
            seen.embedding_projection = module
    return hooks
