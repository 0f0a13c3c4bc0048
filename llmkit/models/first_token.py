"""The last layer of a classifier for the first token alone: its head reads no other.

Of the last layer only the keys and values of all tokens are wanted. The rest is five sixths of its products and nearly
all of its attention: of six layers, a seventh of the whole model's work.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from llmkit.models.cpu_attention import look_from_the_first_token

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class _Parts(NamedTuple):
    """Modules of a layer: one that takes what the attention gave and does not mix tokens, nor does any after it; and
    the projection of the queries, where it is used for them alone."""

    after_attention: str
    query: str | None


_BERT = _Parts("attention.output", "attention.self.query")
_DEBERTA = _Parts("attention.output", None)
_PARTS = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra", "ernie"), _BERT),
    **dict.fromkeys(("deberta", "deberta-v2"), _DEBERTA),
    "distilbert": _Parts("sa_layer_norm", "attention.q_lin"),
    "mpnet": _Parts("attention.LayerNorm", "attention.attn.q"),
}


def keep_first_token(model: PreTrainedModel) -> bool:
    """Let the last layer compute the first token alone where the head reads no other; tell whether it does.

    The model's last hidden state is then (batch, 1, hidden).
    """
    parts = _PARTS.get(model.config.model_type)
    is_classifier = type(model).__name__.endswith("ForSequenceClassification")
    if parts is None or not is_classifier or getattr(model.config, "chunk_size_feed_forward", False):
        return False
    layers = _layers(model)
    if not len(layers):
        return False
    after = layers[-1].get_submodule(parts.after_attention)
    if _cut in after._forward_pre_hooks.values():
        return True
    after.register_forward_pre_hook(_cut)
    if parts.query is not None:
        query = layers[-1].get_submodule(parts.query)
        query.forward = functools.partial(_first_alone, query.forward)
        look_from_the_first_token(layers[-1].get_submodule(parts.query.rpartition(".")[0]))
    return True


def _layers(model: PreTrainedModel) -> Any:
    base: Any = model.base_model
    return base.transformer.layer if hasattr(base, "transformer") else base.encoder.layer


def _cut(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """(batch, sequence, hidden) -> (batch, 1, hidden)."""
    return tuple(each[:, :1] for each in inputs)


def _first_alone(
    project: Callable[[torch.Tensor], torch.Tensor], hidden_states: torch.Tensor
) -> torch.Tensor:
    """(batch, sequence, hidden) -> (batch, sequence, hidden), zeros but for the first token of each row."""
    first = project(hidden_states[:, :1])
    found = first.new_zeros(*hidden_states.shape[:2], first.shape[-1])
    found[:, :1] = first
    return found
