"""From token vectors to one vector a text, the way the model was trained for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.models.model_files import read_model_json, read_model_list

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
        further: the kinds of modules behind the pooling: ``("Normalize",)``.
    """

    mode: str = "mean"
    max_tokens: int | None = None
    further: tuple[str, ...] = ()


def read_pooling(location: str, revision: str | None = None) -> PoolingConfig:
    """Read ``1_Pooling/config.json`` and its like of a model; without them, the mean."""
    pooling = read_model_json(location, "1_Pooling/config.json", revision)
    sentence = read_model_json(location, "sentence_bert_config.json", revision)
    modules = read_model_list(location, "modules.json", revision)
    # Older files have a switch for each mode, newer ones name it.
    mode = pooling.get("pooling_mode") or next(
        (name for key, name in _MODES.items() if pooling.get(key)), "mean"
    )
    mode = _NAMES.get(str(mode), str(mode))
    limit = sentence.get("max_seq_length")
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    return PoolingConfig(mode, int(limit) if limit else None, tuple(kinds[2:]))


def sentence_files(pooling: PoolingConfig, width: int) -> dict[str, str]:
    """Return the files by which sentence-transformers 2 and later loads a model of transformers.

    Args:
        pooling: of what stands behind it, `Normalize` is kept.
        width: of a vector.

    Returns:
        Their content by their names.
    """
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    if "Normalize" in pooling.further:
        modules.append(("2_Normalize", "Normalize"))
    contents: dict[str, Any] = {
        "modules.json": [
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for number, (path, kind) in enumerate(modules)
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": width,
            **{switch: mode == pooling.mode for switch, mode in _MODES.items()},
        },
        "sentence_bert_config.json": {"max_seq_length": pooling.max_tokens, "do_lower_case": False},
        "config_sentence_transformers.json": {"similarity_fn_name": "cosine"},
    }
    return {name: f"{json.dumps(content, indent=2)}\n" for name, content in contents.items()}


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
