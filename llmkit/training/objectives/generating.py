"""What an encoder-decoder learns to continue, and what it makes of a source by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.training.objectives.batch import IGNORED
from llmkit.training.objectives.packing import inner_model

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from llmkit.training.config import GenerationSection

_OLD_GLOBAL_MAX_LENGTH = 20
"""What `generate` took before it told "unset" from a value: in a saved model it means nothing."""


def decoder_inputs(model: PreTrainedModel, labels: torch.Tensor) -> torch.Tensor:
    """Return labels (batch, sequence) shifted to the right, as the model's architecture does it.

    Most begin with the decoder's start token, mBART with the language that ends the labels. Some (M2M-100, NLLB)
    have a forward that shifts labels and no method that does.
    """
    inner: Any = inner_model(model)
    prepare = getattr(inner, "prepare_decoder_input_ids_from_labels", None)
    if prepare is not None:
        shifted: torch.Tensor = prepare(labels=labels)
        return shifted
    start, pad = inner.config.decoder_start_token_id, inner.config.pad_token_id
    shifted = labels.roll(1, dims=-1)
    shifted[:, 0] = start
    return shifted.masked_fill(shifted == IGNORED, pad)


def set_generation(model: PreTrainedModel, settings: GenerationSection, values: dict[str, Any]) -> None:
    """Set how the model generates, now and when it is loaded again, where the config says it.

    Args:
        values: further values of the generation config, such as a forced first token.
    """
    own: Any = model.generation_config
    given = settings.model_dump(exclude_none=True)
    if "max_new_tokens" in given:
        own.max_length = None
    for name, value in {**given, **values}.items():
        setattr(own, name, value)


def generate(model: PreTrainedModel, inputs: dict[str, torch.Tensor], most: int) -> list[list[int]]:
    """Return the token ids that the model makes of each source, special tokens and padding included.

    It is the model's own way, with what the config sets, but without drawing at random.

    Args:
        inputs: of the encoder, each (batch, sequence).
        most: new tokens, where neither the model nor the config has a limit.
    """
    inner: Any = inner_model(model)
    own = inner.generation_config
    has_limit = own.max_new_tokens is not None or own.max_length not in (None, _OLD_GLOBAL_MAX_LENGTH)
    limit = {} if has_limit else {"max_new_tokens": most}
    found: list[list[int]] = inner.generate(**inputs, **limit, do_sample=False).tolist()
    return found
