"""Text in, text out, with an encoder-decoder model: rewriting, summarization, translation.

Gives transformers 5 back the tasks `text2text-generation`, `summarization` and `translation`, which 4.57.6
still had (https://github.com/huggingface/transformers/pull/43256). `docs/differences.md` lists where this
differs on purpose.
"""

from __future__ import annotations

import copy
import enum
import inspect
import logging
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from transformers import GenerationConfig, GenerationMixin, Pipeline
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
from transformers.pipelines.base import load_assistant_model

from llmkit.errors import did_you_mean

logger = logging.getLogger(__name__)

# Two ways to say the same thing: setting one takes the other back.
_LENGTH_PAIRS = {
    "max_length": "max_new_tokens",
    "max_new_tokens": "max_length",
    "min_length": "min_new_tokens",
    "min_new_tokens": "min_length",
}
# What `generate()` used before it told "unset" from a value: in a saved model it means nothing.
_OLD_GLOBAL_MAX_LENGTH = 20


def reject_unknown(pipeline: Pipeline, unknown: Iterable[str], known: Iterable[str] = ()) -> None:
    """Raise TypeError for the first of the `unknown` options, with the nearest name the pipeline does take."""
    for name in unknown:
        named = inspect.signature(pipeline._sanitize_parameters).parameters.values()
        options = {parameter.name for parameter in named if parameter.kind is not parameter.VAR_KEYWORD}
        near = did_you_mean(name, {*options, *known, "batch_size", "num_workers"})
        raise TypeError(
            f"{type(pipeline).__name__} has no option {name!r}: {near or 'it takes ' + ', '.join(sorted(options))}"
        )


class GeneratingPipeline(Pipeline):
    """What the pipelines that call `generate()` share: which settings apply, and running it.

    From weak to strong: `_default_settings`, the model's generation config, `config.task_specific_params` of
    the task, what was given at construction, what is given in a call.
    """

    # transformers' own handling of generation settings differs between its 5.x releases, and some of it
    # writes into the model's config, so none of it is switched on.
    _pipeline_calls_generate = False
    _default_settings: Mapping[str, Any] = {"max_new_tokens": 256}

    def __init__(
        self,
        model: Any,
        *args: Any,
        assistant_model: Any = None,
        assistant_tokenizer: Any = None,
        **kwargs: Any,
    ) -> None:
        self.assistant_model, self.assistant_tokenizer = load_assistant_model(
            model, assistant_model, assistant_tokenizer
        )
        super().__init__(model, *args, **kwargs)
        self._init_settings: dict[str, Any] = self._forward_params.pop("settings", {})
        task_params = _task_params(self.model.config, self.task)
        self.prefix: str | None = task_params.get("prefix", getattr(self.model.config, "prefix", None))

    def _checked_settings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return generation keywords as `_forward` takes them; raise TypeError for one that nothing uses."""
        known = _generation_names(self.model)
        reject_unknown(self, [name for name in settings if name not in known], known)
        return {"settings": dict(settings)} if settings else {}

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(inputs, list | tuple) and not inputs:
            return []
        return super().__call__(inputs, *args, **kwargs)

    def _generate(
        self, model_inputs: Mapping[str, Any], settings: Mapping[str, Any] | None, return_scores: bool = False
    ) -> dict[str, torch.Tensor]:
        """Run `generate()`; return tensors whose first axes are (batch, sequences per input).

        `output_ids` (batch, sequences, length), `lengths`: how many of them are no padding, and `scores` if
        asked for.
        """
        inputs = dict(model_inputs)
        batch_size = next(value.shape[0] for value in inputs.values() if isinstance(value, torch.Tensor))
        arguments = self._generate_arguments(settings or {})
        if return_scores:
            arguments |= {"return_dict_in_generate": True, "output_logits": True}
        output = self.model.generate(**inputs, **arguments)
        sequences = output if isinstance(output, torch.Tensor) else output.sequences
        shape = (batch_size, sequences.shape[0] // batch_size)
        ends = _ends(self.model, arguments)
        lengths = torch.tensor([_length(sequence, *ends) for sequence in sequences.tolist()])
        result = {"output_ids": sequences.reshape(*shape, -1), "lengths": lengths.reshape(shape)}
        if return_scores:
            result["scores"] = _sequence_scores(self.model, output, lengths).reshape(shape)
        return result

    def _generate_arguments(self, call_settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments of `generate()` for one call, all layers of settings put together."""
        merged: dict[str, Any] = {}
        for layer in self._setting_layers(call_settings):
            for name, value in layer.items():
                merged[name] = value
                opposite = _LENGTH_PAIRS.get(name)
                if opposite is not None and opposite not in layer:
                    merged[opposite] = None
        if self.assistant_model is not None:
            merged.setdefault("assistant_model", self.assistant_model)
        if self.assistant_tokenizer is not None:
            merged.setdefault("assistant_tokenizer", self.assistant_tokenizer)
        if self.assistant_tokenizer is not None or merged.get("stop_strings"):
            merged.setdefault("tokenizer", self.tokenizer)
        return merged

    def _setting_layers(self, call_settings: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the layers of settings above the model's own, the weakest first.

        A `generation_config` stands for itself: neither the pipeline's defaults nor the task's settings go
        under it.
        """
        layers = [dict(self._init_settings), dict(call_settings)]
        for index in (1, 0):
            config = layers[index].pop("generation_config", None)
            if config is not None:
                return [_set_values(config), *layers[index:]]
        task = {
            name: value
            for name, value in _task_params(self.model.config, self.task).items()
            if hasattr(GenerationConfig(), name)
        }
        return [self._defaults_left_open(), task, *layers]

    def _defaults_left_open(self) -> dict[str, Any]:
        """Return the pipeline's defaults for what the model's own generation config says nothing about."""
        own = _set_values(self.model.generation_config)
        if own.get("max_length") == _OLD_GLOBAL_MAX_LENGTH:
            del own["max_length"]
        defaults = dict(self._default_settings)
        if self.tokenizer is not None and self.tokenizer.pad_token_id is not None:
            defaults["pad_token_id"] = self.tokenizer.pad_token_id
        return {
            name: value
            for name, value in defaults.items()
            if name not in own and _LENGTH_PAIRS.get(name) not in own
        }


def _task_params(config: Any, task: str) -> dict[str, Any]:
    params = getattr(config, "task_specific_params", None) or {}
    return copy.deepcopy(params.get(task) or {})


def _set_values(config: GenerationConfig) -> dict[str, Any]:
    """Return what a generation config sets, without what it leaves to the defaults."""
    return {
        name: value
        for name, value in vars(config).items()
        if value is not None and not name.startswith("_") and name != "transformers_version"
    }


def _generation_names(model: Any) -> set[str]:
    """Return every keyword that `model.generate()` understands: settings, its own arguments, the model's inputs."""
    names = {name for config in (GenerationConfig(), model.generation_config) for name in vars(config)}
    parts = [
        model,
        *(part for part in (_part(model, "encoder"), _part(model, "decoder")) if part is not None),
    ]
    functions = [GenerationMixin.generate, model.generate, model.prepare_inputs_for_generation]
    functions += [part.forward for part in parts]
    for function in functions:
        names |= set(inspect.signature(function).parameters)
    # Read out of generate()'s **kwargs.
    names |= {"tokenizer", "assistant_tokenizer", "decoder_input_ids", "encoder_outputs", "past_key_values"}
    return {name for name in names if not name.startswith("_")} - {
        "self",
        "args",
        "kwargs",
        "model_kwargs",
        "inputs",
    }


def _part(model: Any, name: str) -> Any:
    base = getattr(model, getattr(model, "base_model_prefix", ""), None)
    return getattr(model, name, None) or getattr(base, name, None)


def _ends(model: Any, arguments: Mapping[str, Any]) -> tuple[list[int], int | None]:
    """Return the ids that end a sequence, and the one that fills up a finished one."""

    def setting(name: str) -> Any:
        return arguments[name] if name in arguments else getattr(model.generation_config, name)

    eos = setting("eos_token_id")
    eos_ids = [] if eos is None else list(eos) if isinstance(eos, list | tuple) else [int(eos)]
    return eos_ids, setting("pad_token_id")


def _length(sequence: list[int], eos_ids: list[int], pad_id: int | None) -> int:
    """Return how many ids there are up to and with the first end token, or without trailing padding.

    The first id does not count as either: it starts the decoder, and many models start it with one of these.
    """
    for position, token in enumerate(sequence[1:], start=1):
        if token in eos_ids:
            return position + 1
    length = len(sequence)
    while length > 1 and sequence[length - 1] == pad_id:
        length -= 1
    return length


def _sequence_scores(model: Any, output: Any, lengths: torch.Tensor) -> torch.Tensor:
    """Return exp(mean log-probability of the generated tokens) of each sequence, shape (sequences,), in 0..1.

    From the model's raw logits, so the settings that shape a search (a forced token, a minimum length, a
    temperature) choose the sequence but do not change its score. The end token counts, the start token and
    padding do not.
    """
    log_probs = model.compute_transition_scores(
        output.sequences, output.logits, getattr(output, "beam_indices", None), normalize_logits=True
    )
    prompt = output.sequences.shape[1] - log_probs.shape[1]
    generated = (lengths - prompt).clamp(min=1).tolist()
    means = [row[:count].double().mean() for row, count in zip(log_probs, generated, strict=True)]
    return torch.stack(means).exp().clamp(max=1.0)


class ReturnType(enum.Enum):
    """What a record holds: token ids or text."""

    TENSORS = 0
    TEXT = 1


class Text2TextGenerationPipeline(GeneratingPipeline):
    """Text to text with any `AutoModelForSeq2SeqLM`: a list of `{"generated_text": str}` for each input.

    Where neither the model nor the caller says otherwise, 4 beams and at most 256 new tokens.
    """

    _load_tokenizer = True
    _load_image_processor = False
    _load_feature_extractor = False
    _load_processor = False
    _load_video_processor = False

    _default_settings: Mapping[str, Any] = {"max_new_tokens": 256, "num_beams": 4}
    return_name = "generated"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.check_model_type(MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES)

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Run on a string, a list of strings, a data set or a generator.

        A string gives a list of records, a list of strings a list of records (of lists, with
        `num_return_sequences` above 1), a data set or generator an iterator of lists. Raises TypeError for
        what is not a string, and for an option that does not exist.
        """
        results = super().__call__(inputs, *args, **kwargs)
        if isinstance(inputs, list) and all(len(records) == 1 for records in results):
            return [records[0] for records in results]
        return results

    def _sanitize_parameters(
        self,
        return_tensors: bool | None = None,
        return_text: bool | None = None,
        return_type: ReturnType | int | None = None,
        clean_up_tokenization_spaces: bool | None = None,
        truncation: Any = None,
        stop_sequence: str | list[str] | None = None,
        return_scores: bool | None = None,
        **generate_kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        preprocess = {} if truncation is None else {"truncation": truncation}
        if stop_sequence is not None:
            generate_kwargs["stop_strings"] = stop_sequence
        forward = self._checked_settings(generate_kwargs)
        if return_scores is not None:
            forward["return_scores"] = return_scores
        postprocess: dict[str, Any] = _parts(return_tensors, return_text, return_type)
        if clean_up_tokenization_spaces is not None:
            postprocess["clean_up_tokenization_spaces"] = clean_up_tokenization_spaces
        return preprocess, forward, postprocess

    def check_inputs(self, input_length: int, min_length: int, max_length: int) -> bool:
        """Warn where lengths (in tokens) do not fit the task; called only where a `max_length` was set."""
        return True

    def preprocess(self, inputs: Any, truncation: Any = False) -> Any:
        """Return the model inputs of one text, each of shape (1, sequence), with the task's prefix in front."""
        text = (self.prefix or "") + _text(inputs)
        return _model_inputs(self.tokenizer(text, truncation=truncation, return_tensors="pt"))

    def _forward(
        self,
        model_inputs: dict[str, Any],
        return_scores: bool = False,
        settings: dict[str, Any] | None = None,
    ) -> dict[str, torch.Tensor]:
        inputs, settings = dict(model_inputs), settings or {}
        forced = inputs.pop("forced_bos_token_id", None)
        if forced is not None:
            # One target language for a call, hence one number, however many inputs were batched.
            settings = {
                "forced_bos_token_id": forced[0] if isinstance(forced, list) else int(forced),
                **settings,
            }
        self._check_lengths(inputs["input_ids"].shape[1], settings)
        return self._generate(inputs, settings, return_scores)

    def _check_lengths(self, input_length: int, settings: Mapping[str, Any]) -> None:
        arguments, own = self._generate_arguments(settings), self.model.generation_config
        max_length = arguments.get("max_length", own.max_length)
        if max_length is not None:
            self.check_inputs(input_length, arguments.get("min_length", own.min_length) or 0, max_length)

    def postprocess(
        self,
        model_outputs: dict[str, torch.Tensor],
        return_tensors: bool = False,
        return_text: bool = True,
        clean_up_tokenization_spaces: bool = False,
    ) -> list[dict[str, Any]]:
        """Return one record for each sequence generated from one input."""
        records = []
        for index, (ids, length) in enumerate(
            zip(model_outputs["output_ids"][0], model_outputs["lengths"][0], strict=True)
        ):
            record: dict[str, Any] = {}
            if return_text:
                record[f"{self.return_name}_text"] = self.tokenizer.decode(
                    ids, skip_special_tokens=True, clean_up_tokenization_spaces=clean_up_tokenization_spaces
                )
            if return_tensors:
                # What is padding depends on the other inputs of the batch.
                record[f"{self.return_name}_token_ids"] = ids[: int(length)]
            if "scores" in model_outputs:
                record["score"] = model_outputs["scores"][0][index].item()
            records.append(record)
        return records


class SummarizationPipeline(Text2TextGenerationPipeline):
    """Summaries with any `AutoModelForSeq2SeqLM`: `{"summary_text": str}` for each input."""

    return_name = "summary"

    def check_inputs(self, input_length: int, min_length: int, max_length: int) -> bool:
        """Warn where a summary must come out longer than its text, or longer than it may."""
        if max_length < min_length:
            logger.warning("min_length=%d is more than max_length=%d", min_length, max_length)
        if input_length < max_length:
            logger.warning(
                "the text has %d tokens, and its summary may have %d: a lower max_length, such as %d, would shorten it",
                input_length,
                max_length,
                max(input_length // 2, 1),
            )
        return True


class TranslationPipeline(Text2TextGenerationPipeline):
    """Translations with any `AutoModelForSeq2SeqLM`: `{"translation_text": str}` for each input.

    Multilingual models are told the languages by `src_lang` and `tgt_lang`, or by the task
    `translation_XX_to_YY`.
    """

    return_name = "translation"

    def __init__(self, model: Any, *args: Any, task: str = "", **kwargs: Any) -> None:
        super().__init__(model, *args, task=_translation_task(model.config, task), **kwargs)

    def _sanitize_parameters(
        self,
        src_lang: str | None = None,
        tgt_lang: str | None = None,
        return_tensors: bool | None = None,
        return_text: bool | None = None,
        return_type: ReturnType | int | None = None,
        clean_up_tokenization_spaces: bool | None = None,
        truncation: Any = None,
        stop_sequence: str | list[str] | None = None,
        return_scores: bool | None = None,
        **generate_kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        preprocess, forward, postprocess = super()._sanitize_parameters(
            return_tensors=return_tensors,
            return_text=return_text,
            return_type=return_type,
            clean_up_tokenization_spaces=clean_up_tokenization_spaces,
            truncation=truncation,
            stop_sequence=stop_sequence,
            return_scores=return_scores,
            **generate_kwargs,
        )
        languages = {"src_lang": src_lang, "tgt_lang": tgt_lang}
        preprocess |= {name: language for name, language in languages.items() if language is not None}
        return preprocess, forward, postprocess

    def check_inputs(self, input_length: int, min_length: int, max_length: int) -> bool:
        """Warn where a translation as long as its text would be cut."""
        if input_length > 0.9 * max_length:
            logger.warning(
                "the text has %d tokens, and its translation may have %d: a higher max_length would not cut it",
                input_length,
                max_length,
            )
        return True

    def preprocess(
        self, inputs: Any, truncation: Any = False, src_lang: str | None = None, tgt_lang: str | None = None
    ) -> Any:
        """Return the model inputs of one text, each of shape (1, sequence), marked with its languages.

        Raises ValueError when a multilingual model is not told both languages, or does not know one of them.
        """
        if not hasattr(self.tokenizer, "_build_translation_inputs"):
            return super().preprocess(inputs, truncation=truncation)
        source, target = _task_languages(self.task)
        languages = {"src_lang": src_lang or source, "tgt_lang": tgt_lang or target}
        for name, language in languages.items():
            _check_language(self.tokenizer, name, language)
        encoded = self.tokenizer._build_translation_inputs(
            _text(inputs), return_tensors="pt", truncation=truncation, **languages
        )
        return _model_inputs(encoded)


def _translation_task(config: Any, task: str) -> str:
    """Return the task, and for a bare `translation` the first pair of languages the model has settings for."""
    if task != "translation":
        return task
    pairs = [
        name
        for name in getattr(config, "task_specific_params", None) or {}
        if name.startswith("translation_")
    ]
    if not pairs:
        return task
    warnings.warn(
        f"the task 'translation' names no languages: taking {pairs[0]!r}", UserWarning, stacklevel=3
    )
    return pairs[0]


def _task_languages(task: str) -> tuple[str | None, str | None]:
    """Return XX and YY of `translation_XX_to_YY`."""
    parts = task.split("_")
    return (parts[1], parts[3]) if len(parts) == 4 else (None, None)


def _check_language(tokenizer: Any, option: str, language: str | None) -> None:
    """Raise ValueError when the tokenizer has no token for the language: the model would read an unknown token."""
    if language is None:
        raise ValueError(f"this model translates between many languages: {option} is needed")
    ids = tokenizer.convert_tokens_to_ids([language, f"__{language}__"])
    if all(token_id in (None, tokenizer.unk_token_id) for token_id in ids):
        codes = sorted(
            {token.strip("_") for token in tokenizer.all_special_tokens if not token.startswith("<")}
        )
        related = [code for code in codes if code.split("_")[0] == language.split("_")[0]]
        near = f"did you mean {' or '.join(related)}?" if related else did_you_mean(language, codes)
        raise ValueError(
            f"{option}={language!r} is no language of this model: {near or 'it knows ' + ', '.join(codes)}"
        )


def _text(inputs: Any) -> str:
    if not isinstance(inputs, str):
        raise TypeError(f"an input is a string, not {type(inputs).__name__}")
    return inputs


def _model_inputs(encoded: Any) -> dict[str, Any]:
    # Some tokenizers make these, and no encoder-decoder takes them.
    return {name: value for name, value in encoded.items() if name != "token_type_ids"}


def _parts(
    return_tensors: bool | None, return_text: bool | None, return_type: ReturnType | int | None
) -> dict[str, bool]:
    """Return which parts a record has, from three ways to say so; the type wins over the two flags."""
    if return_type is not None:
        tensors = ReturnType(return_type) is ReturnType.TENSORS
        return {"return_tensors": tensors, "return_text": not tensors}
    if return_tensors is None and return_text is None:
        return {}
    tensors = bool(return_tensors)
    text = not tensors if return_text is None else return_text
    if not tensors and not text:
        raise ValueError("return_text=False needs return_tensors=True: a record would be empty")
    return {"return_tensors": tensors, "return_text": text}
