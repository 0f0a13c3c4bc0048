"""A model's tokenizer: loaded as the model is, and refused when it was made of nothing."""

from __future__ import annotations

from typing import Any

from llmkit.errors import ModelError
from llmkit.models.resolved import ResolvedModel
from llmkit.models.resolving import explain_loading_error

_ABSOLUTE_POSITION_OFFSETS = {  # positions that the embedding table spends on padding
    "roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "longformer", "mpnet", "ibert", "data2vec-text", "esm",
}  # fmt: skip
_NO_LIMIT = 10**9


def token_limit(config: Any, tokenizer: Any) -> int | None:
    """Return how many tokens a model takes, special ones included; None where there is no limit."""
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    if positions and config.model_type in _ABSOLUTE_POSITION_OFFSETS:
        positions -= (config.pad_token_id or 0) + 1
    limits = [limit for limit in (positions, tokenizer.model_max_length) if limit and 0 < limit < _NO_LIMIT]
    return min(limits) if limits else None


def load_tokenizer(model: ResolvedModel, task: str) -> Any:
    """Load a model's tokenizer.

    Raises:
        ModelError: there is none, or it is damaged.
        HubError: the hub did not give it.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model.beside, **model.origin)
    except Exception as error:
        raise explain_loading_error(error, model, task) from error
    check_vocabulary(tokenizer, model)
    return tokenizer


def check_vocabulary(tokenizer: Any, model: ResolvedModel) -> None:
    """Refuse a tokenizer that was made of nothing: where its files are missing, transformers makes an empty one.

    Raises:
        ModelError: it knows no token but the special ones.
    """
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise ModelError(
            f"{model.name} has no tokenizer: there is no vocabulary beside the model.",
            hint="Save it there with tokenizer.save_pretrained, or name the model that it came from.",
        )
