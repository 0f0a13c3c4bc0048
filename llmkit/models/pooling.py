"""From token vectors to one vector a text, the way the model was trained for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.errors import ModelError
from llmkit.models.model_files import read_model_json

if TYPE_CHECKING:
    import torch

# Older files have a switch for each mode; the vectors of several stand one after the other, in this order.
_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean-sqrt-length",
    "pooling_mode_weightedmean_tokens": "weighted-mean",
    "pooling_mode_lasttoken": "last-token",
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
        mode: mean, cls, max, last-token, weighted-mean or mean-sqrt-length; or several, joined by ``+``.
        max_tokens: the length it was trained with; longer texts are cut. None where it does not say.
        counts_prompt: the tokens of a prompt before the text are pooled with those of the text.
    """

    mode: str = "mean"
    max_tokens: int | None = None
    counts_prompt: bool = True

    @property
    def modes(self) -> list[str]:
        """The poolings whose vectors stand one after the other."""
        return self.mode.split("+")


def read_pooling(location: str, revision: str | None = None) -> PoolingConfig:
    """Read ``1_Pooling/config.json`` and ``sentence_bert_config.json`` of a model; without them, the mean.

    Raises:
        ModelError: they are damaged.
    """
    pooling = read_model_json(location, "1_Pooling/config.json", revision)
    sentence = read_model_json(location, "sentence_bert_config.json", revision)
    named = (
        pooling.get("pooling_mode") or [name for key, name in _MODES.items() if pooling.get(key)] or "mean"
    )
    modes = [named] if isinstance(named, str) else named
    limit = sentence.get("max_seq_length") or None
    if not isinstance(modes, list) or not all(isinstance(mode, str) for mode in modes):
        raise ModelError(f"1_Pooling/config.json of '{location}' names no pooling: {named!r}.")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise ModelError(
            f"sentence_bert_config.json of '{location}' is damaged: max_seq_length is {limit!r}."
        )
    return PoolingConfig(
        "+".join(_NAMES.get(mode, mode) for mode in map(str, modes)),
        limit,
        bool(pooling.get("include_prompt", True)),
    )


def pooling_switches(mode: str) -> dict[str, bool]:
    """Return what ``1_Pooling/config.json`` says of a mode, in the words that every release reads."""
    return {switch: name in mode.split("+") for switch, name in _MODES.items()}


def pool(hidden_states: torch.Tensor, attention_mask: torch.Tensor, mode: str = "mean") -> torch.Tensor:
    """Pool token vectors into one vector a text; padding counts for nothing.

    Args:
        hidden_states: (batch, sequence, hidden)
        attention_mask: (batch, sequence), 1 for real tokens.
        mode: mean, cls, max, last-token, weighted-mean (weights 1 … n, as in SGPT, Muennighoff 2022) or
            mean-sqrt-length (the sum over the root of n); or several joined by ``+``, their vectors one after
            the other.

    Returns:
        (batch, hidden), or (batch, modes × hidden)

    Raises:
        ValueError: no such mode.
    """
    import torch

    if "+" in mode:
        return torch.cat([pool(hidden_states, attention_mask, each) for each in mode.split("+")], dim=-1)
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
        raise ValueError(f"no such pooling: {mode!r}")
    if mode == "weighted-mean":
        mask = mask * mask.cumsum(dim=1)
    tokens = mask.sum(dim=1).clamp(min=1e-9)
    return (hidden_states * mask).sum(dim=1) / (tokens.sqrt() if mode == "mean-sqrt-length" else tokens)
