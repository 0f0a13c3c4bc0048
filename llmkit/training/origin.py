"""What a run starts from: a model and its tokenizer, or an architecture alone and a tokenizer for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import HubError, UsageError
from llmkit.models.embedded import EMBEDDED_NAME
from llmkit.models.loading import LoadOptions, load_config
from llmkit.models.resolved import ResolvedModel
from llmkit.models.resolving import resolve_model
from llmkit.models.tokenizing import load_tokenizer
from llmkit.training.tokenizer_training import specials_for, trained_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

    from llmkit.training.config import FinetuneConfig

_ROLES = ("pad", "bos", "eos", "cls", "sep", "mask")


@dataclass(frozen=True, slots=True)
class Origin:
    """What a run starts from.

    Attributes:
        model_config: the model's own config, before anything is set in it.
        tokenizer_values: what a tokenizer that was trained for the run sets in it.
    """

    resolved: ResolvedModel
    model_config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    tokenizer_values: dict[str, Any]


def find_origin(config: FinetuneConfig) -> Origin:
    """Find the model of a config, or its architecture, and load or train the tokenizer.

    Raises:
        UsageError: the name is that of no model.
        ModelError: the model, the architecture or its tokenizer cannot be had.
    """
    found = _in_catalogue(config) if config.model.from_scratch else None
    if found is None:
        resolved = resolve_model(
            config.model.name, revision=config.model.revision, needs_weights=not config.model.from_scratch
        )
        found = resolved, load_config(resolved, LoadOptions(), config.task)
    resolved, model_config = found
    if config.tokenizer is None:
        return Origin(resolved, model_config, load_tokenizer(resolved, config.task), {})
    tokenizer = trained_tokenizer(config, model_config)
    return Origin(resolved, model_config, tokenizer, _values_of(tokenizer, model_config))


def _in_catalogue(config: FinetuneConfig) -> tuple[ResolvedModel, PreTrainedConfig] | None:
    """Return the architecture that the catalogue has by that name; None for a folder or another hub model."""
    from llmkit.architectures import catalogue
    from llmkit.architectures.building import configure

    name = config.model.name
    entry = catalogue.find(name)
    if entry is None or name == EMBEDDED_NAME or config.model.revision or Path(name).exists():
        return None
    if entry.undisclosed:
        raise UsageError(f"{entry.name}: {entry.undisclosed}")
    if config.tokenizer is None:  # its tokenizer is on the hub, and nowhere else
        try:
            resolved = resolve_model(entry.hub_id or name, needs_weights=False)
        except HubError as error:
            raise HubError(
                f"the tokenizer of {entry.name} cannot be had: {error.message}",
                hint="tokenizer: {train: wordpiece} trains one on the data; or name a folder that has one.",
            ) from None
    else:
        resolved = ResolvedModel(entry.name, entry.hub_id or entry.name)
    return resolved, configure(entry.config)


def _values_of(tokenizer: PreTrainedTokenizerBase, model_config: PreTrainedConfig) -> dict[str, Any]:
    """Return what a model's config says of a tokenizer: the size of the vocabulary, and special tokens."""
    named = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id", None) for role in _ROLES}
    values = {
        "vocab_size": len(tokenizer),
        "decoder_vocab_size": len(tokenizer),
        "forced_eos_token_id": tokenizer.eos_token_id,
        **named,
    }
    known = {name: value for name, value in values.items() if hasattr(model_config, name)}
    if model_config.is_encoder_decoder:  # T5's config has it only where its file says so
        start = specials_for(model_config).decoder_start
        known["decoder_start_token_id"] = getattr(tokenizer, f"{start}_token_id")
    return known
