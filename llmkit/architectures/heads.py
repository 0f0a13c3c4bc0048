"""The heads a model can be counted with: their names, the classes behind them, and which one is meant by default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmkit.architectures.build_errors import as_json
from llmkit.errors import UsageError, no_such

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

NO_HEAD = "none"
CHECKPOINT_HEAD = "checkpoint"

HEADS: Mapping[str, str] = {
    NO_HEAD: "AutoModel",
    "masked-lm": "AutoModelForMaskedLM",
    "causal-lm": "AutoModelForCausalLM",
    "seq2seq-lm": "AutoModelForSeq2SeqLM",
    "speech-seq2seq": "AutoModelForSpeechSeq2Seq",
    "image-text-to-text": "AutoModelForImageTextToText",
    "multimodal-lm": "AutoModelForMultimodalLM",
    "pretraining": "AutoModelForPreTraining",
    "sequence-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "multiple-choice": "AutoModelForMultipleChoice",
    "next-sentence-prediction": "AutoModelForNextSentencePrediction",
    "table-question-answering": "AutoModelForTableQuestionAnswering",
    "visual-question-answering": "AutoModelForVisualQuestionAnswering",
    "document-question-answering": "AutoModelForDocumentQuestionAnswering",
    "image-classification": "AutoModelForImageClassification",
    "zero-shot-image-classification": "AutoModelForZeroShotImageClassification",
    "masked-image-modeling": "AutoModelForMaskedImageModeling",
    "image-segmentation": "AutoModelForImageSegmentation",
    "semantic-segmentation": "AutoModelForSemanticSegmentation",
    "instance-segmentation": "AutoModelForInstanceSegmentation",
    "universal-segmentation": "AutoModelForUniversalSegmentation",
    "object-detection": "AutoModelForObjectDetection",
    "zero-shot-object-detection": "AutoModelForZeroShotObjectDetection",
    "depth-estimation": "AutoModelForDepthEstimation",
    "image-to-image": "AutoModelForImageToImage",
    "mask-generation": "AutoModelForMaskGeneration",
    "keypoint-detection": "AutoModelForKeypointDetection",
    "keypoint-matching": "AutoModelForKeypointMatching",
    "text-recognition": "AutoModelForTextRecognition",
    "video-classification": "AutoModelForVideoClassification",
    "audio-classification": "AutoModelForAudioClassification",
    "audio-frame-classification": "AutoModelForAudioFrameClassification",
    "audio-xvector": "AutoModelForAudioXVector",
    "ctc": "AutoModelForCTC",
    "text-to-spectrogram": "AutoModelForTextToSpectrogram",
    "text-to-waveform": "AutoModelForTextToWaveform",
    "audio-tokenization": "AutoModelForAudioTokenization",
    "text-encoding": "AutoModelForTextEncoding",
    "time-series-prediction": "AutoModelForTimeSeriesPrediction",
}
HEAD_NAMES = (*HEADS, CHECKPOINT_HEAD)

# What has an output layer in transformers, but is published without it: BLIP as its two encoders, SeamlessM4T
# as all of its parts at once.
_PUBLISHED_BARE = frozenset({"blip", "seamless_m4t", "seamless_m4t_v2"})
# In the order they are looked for: a type has several, and the first is what it is published with.
_ENCODER_DECODER_HEADS = (
    "seq2seq-lm",
    "speech-seq2seq",
    "image-text-to-text",
    "multimodal-lm",
    "text-to-waveform",
)
_GENERATIVE_HEADS = ("image-text-to-text", "multimodal-lm", "speech-seq2seq", "seq2seq-lm")
# What an encoder, which is counted bare, is usually trained or used with.
_USUAL_HEADS = (
    "masked-lm",
    "image-classification",
    "ctc",
    "object-detection",
    "pretraining",
    "audio-classification",
    "video-classification",
)
_USUAL_HEAD_OF_TYPE = {"electra": "pretraining", "vit_mae": "pretraining"}


def check_head(name: str) -> str:
    """Return `name` if it is the name of a head.

    Raises:
        UsageError: it is not; the message has the nearest.
    """
    if name not in HEAD_NAMES:
        raise no_such("--head", name, "head", HEAD_NAMES)
    return name


def heads_of(config: PreTrainedConfig) -> tuple[str, ...]:
    """Return the names of the heads that transformers has for this type of model, in the order of `HEADS`."""
    return tuple(name for name in HEADS if _is_mapped(config, name))


def default_head(config: PreTrainedConfig) -> str:
    """Return the head that the paper of this type of model counts.

    Encoders are counted bare, language models, encoder-decoders and models that write about what they see
    or hear with their output layer.

    Raises:
        UsageError: transformers has no model for this type of config.
    """
    has = heads_of(config)
    if not has:
        raise UsageError(
            f"transformers has a config, but no model, for the model_type {config.model_type!r}."
        )
    bare = NO_HEAD if NO_HEAD in has else has[0]
    if config.model_type in _PUBLISHED_BARE:
        return bare
    wanted = _ENCODER_DECODER_HEADS if getattr(config, "is_encoder_decoder", False) else _GENERATIVE_HEADS
    for name in wanted:
        if name in has:
            return name
    if is_causal_lm(config):
        return "causal-lm"
    return bare


def is_causal_lm(config: PreTrainedConfig) -> bool:
    """Return whether the type is a language model that reads from left to right, not an encoder that can be made to."""
    if getattr(config, "is_encoder_decoder", False) or not _is_mapped(config, "causal-lm"):
        return False
    return bool(getattr(config, "is_decoder", False)) or not _is_mapped(config, "masked-lm")


def usual_head(config: PreTrainedConfig) -> str | None:
    """Return the head that models of this type usually have, None where the bare model is all there is."""
    default = default_head(config)
    if default != NO_HEAD:
        return default
    has = heads_of(config)
    if "zero-shot-image-classification" in has:  # two encoders that are compared, such as CLIP, are complete
        return None
    wanted = (_USUAL_HEAD_OF_TYPE.get(config.model_type, ""), *_USUAL_HEADS)
    return next((name for name in wanted if name in has), None)


def model_class(config: PreTrainedConfig, head: str) -> type[PreTrainedModel]:
    """Return the class of transformers that is this type of model with that head.

    Args:
        head: a name of `HEADS`, or ``checkpoint`` for the class that the config's `architectures` name.

    Raises:
        UsageError: no such head, or none for this type; the message has those that there are.
    """
    check_head(head)
    if head == CHECKPOINT_HEAD:
        return _class_of_checkpoint(config)
    if not _is_mapped(config, head):
        raise UsageError(
            f"--head {head}: {config.model_type} has no such head.",
            hint=f"It has: {', '.join(heads_of(config))}.",
        )
    found = _mapping(head)[type(config)]
    return found[0] if isinstance(found, list | tuple) else found


def name_of_head(config: PreTrainedConfig, built: type[PreTrainedModel]) -> str:
    """Return the name of the head that a class of transformers has; the class's name where it has no other."""
    for name in heads_of(config):
        found = _mapping(name)[type(config)]
        if built in (found if isinstance(found, list | tuple) else (found,)):
            return name
    return built.__name__


def _class_of_checkpoint(config: PreTrainedConfig) -> type[PreTrainedModel]:
    import transformers

    names = getattr(config, "architectures", None) or []
    if not (isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)):
        raise UsageError(
            f"--head checkpoint: architectures is {as_json(names)}: it should be a list of names of classes.",
            hint=f"{config.model_type} has: {', '.join(heads_of(config))}.",
        )
    if not names:
        raise UsageError(
            "--head checkpoint: the config has no 'architectures', so it does not say which head it has.",
            hint=f"{config.model_type} has: {', '.join(heads_of(config))}.",
        )
    found = getattr(transformers, names[0], None)
    if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
        return found
    raise UsageError(
        f"--head checkpoint: the installed transformers has no class {names[0]!r}, "
        "which the config's 'architectures' name.",
        hint=f"{config.model_type} has: {', '.join(heads_of(config))}.",
    )


def _mapping(head: str) -> Any:
    from transformers.models.auto import modeling_auto

    auto_class = getattr(modeling_auto, HEADS[head], None)
    return {} if auto_class is None else auto_class._model_mapping


def _is_mapped(config: PreTrainedConfig, head: str) -> bool:
    mapping = _mapping(head)
    # Two types may share a class of config (EvollaConfig): the mapping by class knows only one of them.
    return type(config) in mapping or config.model_type in getattr(mapping, "_model_mapping", {})
