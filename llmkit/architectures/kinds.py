"""What kind of model an architecture is: by what goes in, and for text by how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmkit.architectures.config_values import value_of, whole_number, with_nested
from llmkit.architectures.heads import heads_of, is_causal_lm

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

    from llmkit.architectures.counted import Kind, TransformerStack

# What a model's main input says where its class leaves `input_modalities` at the library's default, text.
_MODALITY_OF_INPUT = {
    "pixel_values": "image",
    "pixel_values_videos": "image",
    "input_values": "audio",
    "input_features": "audio",
    "input_mel_features": "audio",
}
# A part of a larger model inherits what the whole takes; its type says which part it is. Speech-to-text is none.
_MODALITY_OF_PART = {
    "_to_text": "audio",
    "_text": "text",
    "_text_model": "text",
    "_vision": "image",
    "_vision_model": "image",
    "_vit_model": "image",
    "_audio": "audio",
}
_SPEECH_HEADS = frozenset({"speech-seq2seq", "ctc"})


def kind_of(
    model: PreTrainedModel, config: PreTrainedConfig, stacks: Sequence[TransformerStack] = ()
) -> Kind:
    """Return the kind of a model.

    One that takes images or video is of vision, one that takes sound of audio, and one that takes text too
    multimodal. Whisper, which writes text but hears only, is of audio. A text model is decoder-only if all
    its stacks read from left to right.
    """
    taken = _modalities(model, config)
    if len(taken) > 1 and not _only_hears(taken, config):
        return "multimodal"
    if "audio" in taken:
        return "audio"
    if "image" in taken:
        return "vision"
    if value_of(config, "is_encoder_decoder"):
        return "encoder-decoder"
    is_causal = is_causal_lm(config) or (bool(stacks) and all(stack.is_causal for stack in stacks))
    return "decoder-only" if is_causal else "encoder-only"


def _modalities(model: PreTrainedModel, config: PreTrainedConfig) -> set[str]:
    """Return what goes in, of text, image (video among it) and audio."""
    is_part = not getattr(config, "sub_configs", {})
    for ending, modality in _MODALITY_OF_PART.items():
        if is_part and str(config.model_type).endswith(ending):
            return {modality}
    said: Any = getattr(model, "input_modalities", "text")
    taken = {"image" if each == "video" else each for each in ([said] if isinstance(said, str) else said)}
    if taken == {"text"}:
        return {_MODALITY_OF_INPUT.get(str(model.main_input_name), "text")}
    # Points and boxes (SAM) count as text to the library; a model that reads has a vocabulary.
    reads = any(whole_number(each, "vocab_size") for each in with_nested(config))
    return taken if reads or taken == {"text"} else taken - {"text"}


def _only_hears(taken: set[str], config: PreTrainedConfig) -> bool:
    if taken != {"audio", "text"} or hasattr(config, "text_config"):
        return False
    return bool(_SPEECH_HEADS & set(heads_of(config)))
