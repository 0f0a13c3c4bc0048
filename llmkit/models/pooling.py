"""From token vectors to one vector a text, the way the model was trained for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.models.model_files import read_model_json

if TYPE_CHECKING:
    import torch

_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last-token",
    "pooling_mode_weightedmean_tokens": "weighted-mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean-sqrt-length",
    "pooling_mode_mean_tokens": "mean",
}
# Newer files name the mode, in words of their own.
_NAMES = {
    "lasttoken": "last-token",
    "weightedmean": "weighted-mean",
    "mean_sqrt_len_tokens": "mean-sqrt-length",
}


@dataclass(frozen=True, slots=True)
class PoolingConfig:
    """How a model's own sentence-transformers files pool.

    Attributes:
        mode: mean, cls, max, last-token, weighted-mean or mean-sqrt-length.
        max_tokens: the length it was trained with; longer texts are cut. None where it does not say.
    """

    mode: str = "mean"
    max_tokens: int | None = None


def read_pooling(location: str, revision: str | None = None) -> PoolingConfig:
    """Read ``1_Pooling/config.json`` and ``sentence_bert_config.json`` of a model; without them, the mean."""
    pooling = read_model_json(location, "1_Pooling/config.json", revision)
    sentence = read_model_json(location, "sentence_bert_config.json", revision)
    # Older files have a switch for each mode, newer ones name it.
    mode = pooling.get("pooling_mode") or next(
        (name for key, name in _MODES.items() if pooling.get(key)), "mean"
    )
    mode = _NAMES.get(str(mode), str(mode))
    limit = sentence.get("max_seq_length")
    return PoolingConfig(mode, int(limit) if limit else None)


def pooling_switches(mode: str) -> dict[str, bool]:
    """Return what ``1_Pooling/config.json`` says of a mode, in the words that every release reads."""
    return {switch: name == mode for switch, name in _MODES.items()}


def pool(hidden_states: torch.Tensor, attention_mask: torch.Tensor, mode: str = "mean") -> torch.Tensor:
    """Pool token vectors into one vector a text; padding counts for nothing.

    Args:
        hidden_states: (batch, sequence, hidden)
        attention_mask: (batch, sequence), 1 for real tokens.
        mode: mean, cls, max, last-token, weighted-mean (weights 1 … n, as in SGPT, Muennighoff 2022) or
            mean-sqrt-length (the sum over the root of n).

    Returns:
        (batch, hidden)

    Raises:
        ValueError: no such mode.
    """
    import torch

    mask = attention_mask.to(hidden_states.dtype).unsqueeze(-1)  # (batch, sequence, 1)
    if mode == "cls":
        first = attention_mask.long().argmax(dim=1)  # not 0 where the padding is on the left
        return hidden_states[torch.arange(len(hidden_states), device=first.device), first]
    if mode == "last-token":
        positions = torch.arange(attention_mask.shape[1], device=attention_mask.device)
        last = (attention_mask.long() * positions).argmax(dim=1)
        return hidden_states[torch.arange(len(hidden_states), device=last.device), last]
    if mode == "max":
        return hidden_states.masked_fill(mask == 0, float("-inf")).amax(dim=1)
    if mode not in ("mean", "weighted-mean", "mean-sqrt-length"):
        raise ValueError(f"there is no pooling '{mode}'")
    if mode == "weighted-mean":
        mask = mask * mask.cumsum(dim=1)
    tokens = mask.sum(dim=1).clamp(min=1e-9)
    return (hidden_states * mask).sum(dim=1) / (tokens.sqrt() if mode == "mean-sqrt-length" else tokens)
