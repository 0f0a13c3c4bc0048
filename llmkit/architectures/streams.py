"""Which numbers run through which tensors: the source or the target tokens of a text, or the patches of an image.

What a token costs depends on it: an encoder-decoder's cross attention makes keys and values of source tokens,
a vision tower works once an image, a pooler once a sequence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from llmkit.architectures.counted import Counted, Tensor, TransformerStack

# Names of towers and of what belongs to one token a sequence, as transformers' modules have them.
_VISION = re.compile(r"vision|visual|image|(^|[._])vit([._]|$)", re.IGNORECASE)
_AUDIO = re.compile(r"audio|speech", re.IGNORECASE)
_PROJECTOR = re.compile(r"project|connector|merger|adapter|resampler|qformer", re.IGNORECASE)
_CROSS = re.compile(r"cross|encdec|encoder_attn|encoder_attention", re.IGNORECASE)
_KEY_VALUE = re.compile(r"(^|\.)(k|v|key|value|k_proj|v_proj|k_lin|v_lin|c_attn|kv_proj)\.weight$")
_ONCE = re.compile(r"pool|seq_relationship|classif|text_projection|visual_projection", re.IGNORECASE)
_POSITIONS = re.compile(r"pos(ition)?(al)?_?emb", re.IGNORECASE)
_PATCHES = re.compile(r"patch_emb|patch_projection|conv_proj|patch_conv", re.IGNORECASE)
# Their classifier reads every token, so that it is no matter of one token a sequence.
_HEADS_OF_TOKENS = ("token-classification", "question-answering", "masked-lm", "causal-lm", "seq2seq-lm")


@dataclass(frozen=True, slots=True)
class Stream:
    """One kind of token, and what it runs through.

    Attributes:
        name: ``token``, ``source token``, ``target token``, ``image patch`` or ``audio frame``.
        stacks: the layers it runs through.
        tensors: what each of its tokens meets.
        once: what one token of a sequence meets: a pooler, the classifier after it.
        tokens: how many tokens one input has, where the architecture says so: the patches of an image.
        patches: those of `tokens` that a patch embedding makes; the others are learned, such as [CLS].
        is_fixed: the number of tokens does not follow the length of the text.
    """

    name: str
    stacks: tuple[TransformerStack, ...]
    tensors: tuple[Tensor, ...]
    once: tuple[Tensor, ...] = ()
    tokens: int | None = None
    patches: int | None = None
    is_fixed: bool = False

    def length(self, sequence_length: int) -> int | None:
        """Return the number of tokens a sequence; None where the architecture does not tell it."""
        return self.tokens if self.is_fixed else sequence_length


def streams(counted: Counted) -> tuple[Stream, ...]:
    """Return the model's streams, that of the output last; none for a model without layers of attention."""
    names = {stack.name: _stream_name(stack, counted) for stack in counted.stacks}
    order = ("image patch", "audio frame", "source token", "token", "target token")
    present = [name for name in order if name in names.values()]
    if not present:
        return ()
    given: dict[str, list[Tensor]] = {name: [] for name in present}
    once: dict[str, list[Tensor]] = {name: [] for name in present}
    for tensor in counted.tensors:
        name = _stream_of(tensor, names, present)
        is_once = not tensor.stack and _ONCE.search(tensor.name) and not _reads_every_token(tensor, counted)
        (once if is_once else given)[name].append(tensor)
    made = (
        Stream(
            name,
            tuple(stack for stack in counted.stacks if names[stack.name] == name),
            tuple(given[name]),
            tuple(once[name]),
        )
        for name in present
    )
    return tuple(_with_tokens(each, counted) for each in made)


def _reads_every_token(tensor: Tensor, counted: Counted) -> bool:
    return tensor.is_head and counted.head in _HEADS_OF_TOKENS


def _stream_name(stack: TransformerStack, counted: Counted) -> str:
    is_decoder = stack.is_cross or stack.is_causal
    if counted.kind == "vision" or (counted.kind == "multimodal" and _VISION.search(stack.name)):
        return "image patch"
    if not is_decoder and (counted.kind == "audio" or _AUDIO.search(stack.name)):
        return "audio frame"
    if any(other.is_cross for other in counted.stacks):
        return "target token" if is_decoder else "source token"
    return "token"


def _hears(counted: Counted) -> bool:
    return "num_mel_bins" in counted.config


def _stream_of(tensor: Tensor, names: Mapping[str, str], present: list[str]) -> str:
    """Return the stream a tensor belongs to: its stack's, else that of the stack whose name begins most alike."""
    if tensor.stack in names:
        name = names[tensor.stack]
        if name == "target token" and _CROSS.search(tensor.name) and _KEY_VALUE.search(tensor.name):
            return next((each for each in present if each != name), name)
        return name
    if tensor.multiplies and tensor.tied and len(tensor.sizes) == 2:
        return present[-1]
    if not tensor.is_head:
        for pattern, name in ((_VISION, "image patch"), (_PROJECTOR, "image patch"), (_AUDIO, "audio frame")):
            if name in present and pattern.search(tensor.name):
                return name
    parts = tensor.name.split(".")
    alike = {stack: _alike(parts, stack.split(".")) for stack in names}
    longest = max(alike.values())
    near = {names[stack] for stack, length in alike.items() if length == longest}
    return near.pop() if len(near) == 1 and longest else present[-1]


def _alike(parts: list[str], others: list[str]) -> int:
    length = 0
    for part, other in zip(parts, others, strict=False):
        if part != other:
            break
        length += 1
    return length


def _with_tokens(stream: Stream, counted: Counted) -> Stream:
    if stream.name == "image patch":
        tokens, patches = _image_tokens(stream, counted)
        return replace(stream, tokens=tokens, patches=patches, is_fixed=True)
    if stream.name == "audio frame" and isinstance(frames := counted.config.get("max_source_positions"), int):
        return replace(stream, tokens=frames, patches=frames, is_fixed=_hears(counted))
    return stream


def _image_tokens(stream: Stream, counted: Counted) -> tuple[int | None, int | None]:
    """Return the tokens and the patches of an image; None where layers differ in resolution or none is fixed."""
    vision = next(
        (each for each in _configs(counted.config) if "patch_size" in each and "image_size" in each), {}
    )
    image, patch = _side(vision.get("image_size")), _side(vision.get("patch_size"))
    widths = {stack.hidden_size for stack in stream.stacks}
    if not image or not patch or len(widths) != 1:
        return None, None
    patches = prod(each // size for each, size in zip(image, patch, strict=True))
    tables = [tensor for tensor in stream.tensors if not tensor.stack and _POSITIONS.search(tensor.name)]
    lengths = [prod(tensor.sizes[:-1]) for tensor in tables if tensor.sizes and tensor.sizes[-1] in widths]
    tokens = max(lengths, default=patches)
    # A table that has another resolution in mind is resized to the image.
    return (tokens if patches <= tokens <= patches + 8 else patches), patches


def _side(value: Any) -> tuple[int, int] | None:
    if isinstance(value, int) and value > 0:
        return value, value
    if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(each, int) for each in value):
        return value[0], value[1]
    return None


def _configs(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the config and those nested in it, the nested ones first."""
    return [*(each for each in config.values() if isinstance(each, Mapping)), config]


def is_patch_embedding(tensor: Tensor) -> bool:
    """Whether the tensor makes patches of an image or frames of sound: a convolution outside of the layers."""
    return not tensor.stack and (len(tensor.sizes) > 2 or bool(_PATCHES.search(tensor.name)))
