"""A model's tokenizer: loaded as the model is, and refused when it was made of nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llmkit.errors import ModelError
from llmkit.models.resolved import ResolvedModel
from llmkit.models.resolving import explain_loading_error

_ABSOLUTE_POSITION_OFFSETS = {  # positions that the embedding table spends on padding
    "roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "longformer", "mpnet", "ibert", "data2vec-text", "esm",
}  # fmt: skip
_NO_LIMIT = 10**9
_IN_NO_VOCABULARY = "\u2603\U0001f9ff"
_PANIC = "PanicException"  # of a library in Rust: no Exception, so that nobody takes it for one of the usual errors


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

    with explained_loading(model, task):
        tokenizer = AutoTokenizer.from_pretrained(model.beside, **model.origin)
    check_tokenizer(tokenizer, model)
    return tokenizer


@contextmanager
def explained_loading(model: ResolvedModel, task: str) -> Iterator[None]:
    """Turn whatever a block that loads something of a model raises into one message.

    Raises:
        ModelError, HubError, MissingExtraError: it cannot be loaded.
    """
    try:
        yield
    except Exception as error:
        raise explain_loading_error(error, model, task) from error
    except BaseException as error:
        if type(error).__name__ != _PANIC:
            raise
        raise explain_loading_error(error, model, task) from error


def check_tokenizer(tokenizer: Any, model: ResolvedModel) -> None:
    """Refuse a tokenizer that was made of nothing, as transformers does where files are missing, or of nonsense.

    Raises:
        ModelError: it knows no token but the special ones, or fails on a text.
    """
    limit = tokenizer.model_max_length
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        raise ModelError(
            f"the tokenizer of {model} is damaged: model_max_length is {limit!r}, which is no number."
        )
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise ModelError(
            f"{model.name} has no tokenizer: there is no vocabulary beside the model.",
            hint="Save it there with tokenizer.save_pretrained, or name the model that it came from.",
        )
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return
    try:
        backend.model.tokenize(_IN_NO_VOCABULARY)
    except Exception as error:
        raise ModelError(f"the tokenizer of {model} is damaged: {error}.") from error
