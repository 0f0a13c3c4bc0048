"""What each token attends to: the weights of a model's attention for one text.

The model computes in eager mode, which keeps the weights softmax(Q·Kᵀ/√d) (Vaswani et al. 2017,
https://arxiv.org/abs/1706.03762) that faster ways to attend never write down.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from llmkit.data.numerals import whole_number
from llmkit.errors import ModelError, UsageError
from llmkit.insight.predictions import Prediction, predictions_of
from llmkit.insight.prepared import PreparedText, Side, side_of
from llmkit.models.loading import LoadOptions, load_config, load_model

if TYPE_CHECKING:
    import numpy
    import torch
    from transformers import PreTrainedModel

    from llmkit.models.resolved import ResolvedModel

    Array = numpy.ndarray[Any, Any]

TASK = "attention"
ENCODER, DECODER, CROSS = "encoder", "decoder", "cross"
KINDS = (ENCODER, DECODER, CROSS)
_MOST_GENERATED = 64
_MOST_IN_A_ROW = 1.02  # in bfloat16, too


@dataclass(frozen=True, slots=True)
class AttentionWeights:
    """The weights of one kind of attention.

    Attributes:
        kind: encoder, decoder, or cross: from the decoder to the encoder.
        weights: (layers, heads, query, key), float32; a row of keys sums to 1.
        layers: their numbers, from 1, as `llmkit embed --layer` counts them.
        heads: their numbers, from 1; "mean" for the mean over all of them.
        is_causal: no token attends to one that comes after it.
    """

    kind: str
    weights: Array
    layers: tuple[int, ...]
    heads: tuple[int | str, ...]
    queries: Side
    keys: Side
    is_causal: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """A text as a model has read it.

    Attributes:
        kinds: encoder, decoder, cross, as far as the model has them.
        predictions: what a language model would write next, or in the blanks.
    """

    model: str
    text: str
    pair: str | None
    kinds: Mapping[str, AttentionWeights]
    predictions: Sequence[Prediction] = field(default=())


def load_eager_model(resolved: ResolvedModel, load: LoadOptions) -> PreTrainedModel:
    """Load a model that shows its weights, with its language modelling head where it has one.

    Raises:
        ModelError, HubError: as of `load_model`.
    """
    import transformers

    names = ["AutoModel", "AutoModelForMaskedLM", "AutoModelForCausalLM", "AutoModelForSeq2SeqLM"]
    # A model of another head (a classifier) is read without it: the first that knows the architecture. A GGUF file
    # does not say what head it has, and is nearly always a language model.
    heads = [getattr(transformers, name) for name in (names[2:] + names[:2] if resolved.is_gguf else names)]
    eager = LoadOptions(
        load.device,
        load.dtype or "float32",
        load.trust_remote_code,
        load.allow_pickle,
        arguments={"attn_implementation": "eager"},
    )
    if _may_fill_blanks(resolved, load):
        with suppress(ModelError):  # of another pre-training (ELECTRA's), without a head for tokens
            return load_model(resolved, heads[1:2], eager, task=TASK, speed_up=False)
    return load_model(resolved, heads, eager, task=TASK, speed_up=False)


def _may_fill_blanks(resolved: ResolvedModel, load: LoadOptions) -> bool:
    """Tell whether a checkpoint with several heads, or one that does not say which, may have that of a masked model."""
    from transformers import AutoModelForMaskedLM

    config = load_config(resolved, load, TASK)
    saved = config.architectures or ["ForPreTraining"]
    is_masked = type(config) in AutoModelForMaskedLM._model_mapping
    return is_masked and not resolved.is_gguf and saved[0].endswith("ForPreTraining")


def read_text(model: PreTrainedModel, tokenizer: Any, prepared: PreparedText, name: str) -> Reading:
    """Send a text through a model, and keep what each token attended to.

    The decoder of an encoder-decoder reads what the model itself writes for the text, greedily, up to 64 tokens.

    Raises:
        ModelError: it has no attention, attends in windows that are no matrix, or cannot be given a text alone.
    """
    _check_takes_attentions(model, name)
    with computing(model, name):
        arguments = model_inputs(model, prepared)
        out = model(**arguments, output_attentions=True, return_dict=True)
    decoder = side_of(tokenizer, arguments["decoder_input_ids"][0].tolist()) if _has_both(model) else None
    kinds = _kinds(model, out, prepared.side, decoder)
    if not kinds:
        raise _no_attention(model, name)
    for each in kinds.values():
        if each.weights.shape[2:] != (len(each.queries), len(each.keys)):
            raise ModelError(
                f"{name} (model type '{model.config.model_type}') attends in windows: its weights are no "
                f"matrix of {len(each.queries)} × {len(each.keys)} tokens."
            )
        # SqueezeBERT gives the scores before the softmax. Less than 1 is right where there is a sink (GPT-OSS).
        if not bool(((each.weights >= 0).all(-1) & (each.weights.sum(-1) < _MOST_IN_A_ROW)).all()):
            raise ModelError(
                f"{name} (model type '{model.config.model_type}') gives numbers that are no weights: "
                "not every row of them is positive and sums to 1.",
                hint="Numbers that are none come of half precision, too: leave out --dtype.",
            )
    found = predictions_of(model, tokenizer, out, decoder or prepared.side)
    return Reading(name, prepared.text, prepared.pair, kinds, found)


@contextmanager
def computing(model: PreTrainedModel, name: str) -> Iterator[None]:
    """Let a model compute inside the block, without gradients.

    Raises:
        ModelError: it cannot be given a text alone.
    """
    import torch

    try:
        with torch.no_grad():
            yield
    except Exception as error:  # a model that wants a picture or a recording says so in words of its own
        told = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{name} (model type '{model.config.model_type}') could not read the text: "
            f"{type(error).__name__}: {told}",
            hint="Choose a model of texts, such as --model minilm.",
        ) from error


def model_inputs(model: PreTrainedModel, prepared: PreparedText) -> dict[str, torch.Tensor]:
    """Return what a model's forward is given for a text."""
    arguments = {name: value.to(model.device) for name, value in prepared.inputs.items()}
    if _has_both(model):
        arguments["decoder_input_ids"] = _decoder_ids(model, arguments)
    return arguments


def is_causal_model(model: PreTrainedModel) -> bool:
    """Tell whether a model of one stack of layers is a decoder, by what its modules say, else by what it does."""
    import torch

    if any(
        getattr(module, "is_causal", False) or getattr(module, "is_decoder", False) is True
        for module in model.modules()
    ):
        return True
    with torch.no_grad():  # BLOOM does not say
        out = model(input_ids=torch.ones(1, 2, dtype=torch.long, device=model.device), output_attentions=True)
    weights = [each for each in getattr(out, "attentions", None) or () if each is not None]
    return bool(weights) and all(not bool(each[0, ..., 0, 1].any()) for each in weights)


def _has_both(model: PreTrainedModel) -> bool:
    return bool(getattr(model.config, "is_encoder_decoder", False))


def _decoder_ids(model: PreTrainedModel, arguments: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return what the decoder reads: its start, and what the model writes after it but the end, which is never read."""
    import torch

    config = getattr(model, "generation_config", None) or model.config
    start = getattr(config, "decoder_start_token_id", None)
    if start is None:
        start = getattr(model.config, "decoder_start_token_id", None) or 0
    if not getattr(model, "can_generate", lambda: False)():
        return torch.tensor([[start]], device=model.device)
    positions = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    most = min(_MOST_GENERATED, positions - 1) if positions else _MOST_GENERATED
    written = model.generate(
        **arguments, max_new_tokens=most, do_sample=False, num_beams=1, decoder_start_token_id=start
    )
    ends = getattr(config, "eos_token_id", None)
    ends = ends if isinstance(ends, list) else [ends]
    last = int(written[0, -1])
    # Some models begin with the token that also ends a text.
    found: torch.Tensor = written[:, :-1] if written.shape[1] > 1 and last in ends else written
    return found


def _kinds(model: PreTrainedModel, out: Any, text: Side, decoder: Side | None) -> dict[str, AttentionWeights]:
    if decoder is None:
        found = _stacked(getattr(out, "attentions", None), ENCODER, text, text)
        if found is None:
            return {}
        # The weights say whether attention is causal, but those of one token could be either.
        is_causal = found.is_causal if len(text) > 1 else is_causal_model(model)
        kind = DECODER if is_causal else ENCODER
        return {kind: replace(found, kind=kind, is_causal=is_causal)}
    stacked = (
        _stacked(getattr(out, "encoder_attentions", None), ENCODER, text, text),
        _stacked(getattr(out, "decoder_attentions", None), DECODER, decoder, decoder),
        _stacked(getattr(out, "cross_attentions", None), CROSS, decoder, text),
    )
    return {each.kind: each for each in stacked if each is not None}


def _stacked(given: Sequence[Any] | None, kind: str, queries: Side, keys: Side) -> AttentionWeights | None:
    """Return the layers' weights as one array; a layer that does not attend (of a hybrid model) is left out.

    None where there are none, or none of one shape.
    """
    import torch

    layers = [(number, each) for number, each in enumerate(given or (), start=1) if each is not None]
    if not layers:
        return None
    # CANINE; RWKV, which has states.
    if len({each.shape for _, each in layers}) > 1 or layers[0][1].dim() != 4:
        return None
    weights = torch.stack([each[0].float().cpu() for _, each in layers])
    heads = tuple(range(1, weights.shape[1] + 1))
    later = weights.triu(1) if weights.shape[2] == weights.shape[3] else None
    is_causal = kind != CROSS and later is not None and len(queries) > 1 and not bool(later.any())
    return AttentionWeights(
        kind,
        weights.numpy(),
        tuple(number for number, _ in layers),
        heads,
        queries,
        keys,
        is_causal or (kind == DECODER and len(queries) == 1),
    )


def _check_takes_attentions(model: PreTrainedModel, name: str) -> None:
    parameters = inspect.signature(model.forward).parameters
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    if "output_attentions" not in parameters and not takes_any:
        raise _no_attention(model, name)


def _no_attention(model: PreTrainedModel, name: str) -> ModelError:
    return ModelError(
        f"{name} (model type '{model.config.model_type}') has no attention to look at, or gives no weights of it.",
        hint="Choose a transformer, such as --model minilm.",
    )


def chosen(given: str | None, numbers: Sequence[Any], what: str, model: str) -> tuple[int, ...]:
    """Return the places in `numbers` of the layers or heads that a person names: 3, -1, 1,2, all.

    Raises:
        UsageError: there is no such layer or head.
    """
    if given is None or given == "all":
        return tuple(range(len(numbers)))
    return tuple(_place(each.strip(), numbers, what, model) for each in given.split(","))


def _place(named: str, numbers: Sequence[Any], what: str, model: str) -> int:
    size = whole_number(named.removeprefix("-"))
    number = -size if size is not None and named.startswith("-") else size
    if number is not None and number in numbers:
        return list(numbers).index(number)
    if number is not None and -len(numbers) <= number < 0:
        return len(numbers) + number
    if number == 0 and what == "layer":
        raise UsageError(
            "--layer 0 is the embedding, which attends to nothing.", hint="The first layer is 1."
        )
    raise UsageError(
        f"--{what} {named}: {model} has no such {what}.",
        hint=f"It has {what}s {numbers[0]} to {numbers[-1]}; -1 is the last.",
    )


MEAN = "mean"
LAST = "-1"


def selected(found: AttentionWeights, layer: str | None, head: str | None, model: str) -> AttentionWeights:
    """Return the layers and heads that a person names: 3, -1, 1,2, all; of heads also their mean.

    Raises:
        UsageError: there is no such layer or head.
    """
    layers = chosen(layer, found.layers, "layer", model)
    weights = found.weights[list(layers)]
    heads: tuple[int | str, ...] = (MEAN,)
    if head == MEAN:
        weights = weights.mean(axis=1, keepdims=True)
    else:
        places = chosen(head, found.heads, "head", model)
        weights, heads = weights[:, list(places)], tuple(found.heads[place] for place in places)
    return replace(found, weights=weights, layers=tuple(found.layers[place] for place in layers), heads=heads)
