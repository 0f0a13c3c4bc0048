"""Text in, text out, with an encoder-decoder model: rewriting, summarization, translation.

Gives transformers 5 back the tasks `text2text-generation`, `summarization` and `translation`, which 4.57.6
still had (https://github.com/huggingface/transformers/pull/43256). `docs/differences.md` lists where this
differs on purpose.
"""

from __future__ import annotations

import enum
import logging
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES

from llmkit.errors import did_you_mean
from llmkit.tasks.generation import GeneratingPipeline

logger = logging.getLogger(__name__)


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
            check_language(self.tokenizer, name, language)
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


def check_language(tokenizer: Any, option: str, language: str | None) -> None:
    """Raise ValueError when the tokenizer has no token for the language: the model would read an unknown token."""
    if language is None:
        raise ValueError(f"this model translates between many languages: {option} is needed")
    ids = tokenizer.convert_tokens_to_ids([language, f"__{language}__"])
    # A language may be a piece of ordinary text too: "en" of "seven".
    marks = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder} - {tokenizer.unk_token_id}
    if marks.isdisjoint(ids):
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
