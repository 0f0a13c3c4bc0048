"""The last layer of a classifier for the first token alone: its head reads no other.

What follows the last layer's attention is two thirds and more of that layer's products: of six layers, an eighth of
the whole model's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# By model type, the module of a layer that takes what the attention gave and does not mix tokens, nor does any after.
_AFTER_ATTENTION = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra", "ernie"), "attention.output"),
    **dict.fromkeys(("deberta", "deberta-v2"), "attention.output"),
    "distilbert": "sa_layer_norm",
    "mpnet": "attention.LayerNorm",
}


def keep_first_token(model: PreTrainedModel) -> bool:
    """Let the last layer compute the first token alone where the head reads no other; tell whether it does.

    The model's last hidden state is then (batch, 1, hidden).
    """
    name = _AFTER_ATTENTION.get(model.config.model_type)
    is_classifier = type(model).__name__.endswith("ForSequenceClassification")
    if name is None or not is_classifier or getattr(model.config, "chunk_size_feed_forward", False):
        return False
    layers = _layers(model)
    if not len(layers):
        return False
    module = layers[-1].get_submodule(name)
    if _cut not in module._forward_pre_hooks.values():
        module.register_forward_pre_hook(_cut)
    return True


def _layers(model: PreTrainedModel) -> Any:
    base: Any = model.base_model
    return base.transformer.layer if hasattr(base, "transformer") else base.encoder.layer


def _cut(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """(batch, sequence, hidden) -> (batch, 1, hidden)."""
    return tuple(each[:, :1] for each in inputs)
