"""Extractive question answering: the span of a context that answers a question.

Gives transformers 5 back the task `question-answering`, which 4.57.6 still had and 5.3 dropped
(https://github.com/huggingface/transformers/pull/43325). `docs/differences.md` lists where this differs on
purpose.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable, Iterator, Mapping
from types import GeneratorType
from typing import Any, NamedTuple

import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast
from transformers.models.auto.modeling_auto import MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES
from transformers.pipelines.base import ChunkPipeline

from llmkit.tasks.answer_spans import Chunk, best_answers
from llmkit.tasks.generation import reject_unknown

DEFAULT_MAX_SEQ_LEN = 384
DEFAULT_DOC_STRIDE = 128


class Example(NamedTuple):
    """One question and the context to find its answer in."""

    question: str
    context: str


class QuestionAnsweringPipeline(ChunkPipeline):
    """Answer questions with a span of their context, with any `AutoModelForQuestionAnswering`.

    An answer is `{"score": float, "start": int, "end": int, "answer": str}`: the probability of the span in
    0..1, and character offsets into the context, `end` exclusive.
    """

    default_input_names = "question,context"

    _load_tokenizer = True
    _load_image_processor = False
    _load_feature_extractor = False
    _load_processor = False
    _load_video_processor = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.tokenizer is None or not self.tokenizer.is_fast:
            raise ValueError(
                "question-answering needs a fast tokenizer (one with character offsets), not"
                f" {type(self.tokenizer).__name__}; load it with AutoTokenizer or convert it to a tokenizer.json."
            )
        self.check_model_type(MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES)

    def __call__(self, *args: Any, question: Any = None, context: Any = None, **kwargs: Any) -> Any:
        """Answer one question or many.

        Inputs: `question=` and `context=` (each a string or a list; a single one goes with every one of the
        other), a dict with both keys, a list of such dicts or of `SquadExample`s, a data set, or a generator.
        A single question gives a dict (a list of dicts when `top_k` is above 1), a list gives a list, a
        generator an iterator.

        Raises KeyError when a key is missing, ValueError when a question or context is empty or cannot be
        used.
        """
        # The two names under which scikit-learn and Keras hand over their data; 4.57.6 took them too.
        named = [kwargs.pop(name) for name in ("X", "data") if name in kwargs]
        inputs = _inputs(args or tuple(named), question, context)
        if isinstance(inputs, list) and not inputs:
            return []
        return super().__call__(inputs, **kwargs)

    @staticmethod
    def create_sample(question: str | list[str], context: str | list[str]) -> Example | list[Example]:
        """Return one or several inputs of a call. Version 4 gave `SquadExample`s, which transformers 5 dropped.

        Raises ValueError when one is empty, or there is not one context for each question.
        """
        return _pairs(question, context)

    def _sanitize_parameters(
        self,
        padding: str | bool | None = None,
        topk: int | None = None,
        top_k: int | None = None,
        doc_stride: int | None = None,
        max_answer_len: int | None = None,
        max_seq_len: int | None = None,
        max_question_len: int | None = None,
        handle_impossible_answer: bool | None = None,
        align_to_words: bool | None = None,
        **unknown: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        reject_unknown(self, unknown)
        if topk is not None and top_k is None:
            warnings.warn("`topk` is the old name of `top_k`", UserWarning, stacklevel=3)
            top_k = topk
        _check_at_least(1, top_k=top_k, max_answer_len=max_answer_len)
        _check_at_least(1, max_seq_len=max_seq_len, max_question_len=max_question_len)
        _check_at_least(0, doc_stride=doc_stride)
        preprocess = {
            "padding": padding,
            "doc_stride": doc_stride,
            "max_seq_len": max_seq_len,
            "max_question_len": max_question_len,
        }
        postprocess = {
            "top_k": top_k,
            "max_answer_len": max_answer_len,
            "handle_impossible_answer": handle_impossible_answer,
            "align_to_words": align_to_words,
        }
        return _given(preprocess), {}, _given(postprocess)

    def preprocess(
        self,
        example: Any,
        padding: str | bool = "do_not_pad",
        doc_stride: int | None = None,
        max_question_len: int = 64,
        max_seq_len: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield the chunks of one example: model inputs and, for each token, its characters in the context."""
        question, context = _example(example)
        max_seq_len = self._allowed_length(max_seq_len)
        if doc_stride is not None and doc_stride > max_seq_len:
            raise ValueError(f"doc_stride ({doc_stride}) is larger than max_seq_len ({max_seq_len})")
        question = self._shortened(question, max_question_len)
        encoded = self._encode(question, context, max_seq_len, doc_stride, padding)
        last = len(encoded.encodings) - 1
        for index, encoding in enumerate(encoded.encodings):
            inputs = {name: encoded[name][index] for name in self._model_input_names if name in encoded}
            tensors = {**inputs, **self._token_facts(encoding)}
            yield {
                **{name: torch.tensor(values).unsqueeze(0) for name, values in tensors.items()},
                "context": context,
                "is_last": index == last,
            }

    def _allowed_length(self, max_seq_len: int | None) -> int:
        """Return the length of a chunk in tokens: the one asked for, or as much of it as the model can take."""
        limits = [self.tokenizer.model_max_length, _position_limit(self.model)]
        limit = min(value for value in limits if value is not None)
        if max_seq_len is None:
            return int(min(limit, DEFAULT_MAX_SEQ_LEN))
        if max_seq_len > limit:
            warnings.warn(
                f"max_seq_len={max_seq_len} is more than this model can take: using {limit}",
                UserWarning,
                stacklevel=2,
            )
        return int(min(limit, max_seq_len))

    def _shortened(self, question: str, max_question_len: int) -> str:
        """Return the question cut after its first `max_question_len` tokens, with a warning when that cuts it."""
        offsets = self.tokenizer(
            question, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        ).offset_mapping
        if len(offsets) <= max_question_len:
            return question
        warnings.warn(
            f"the question has {len(offsets)} tokens and was cut to max_question_len={max_question_len}",
            UserWarning,
            stacklevel=2,
        )
        return question[: offsets[max_question_len - 1][1]]

    def _encode(
        self, question: str, context: str, max_seq_len: int, doc_stride: int | None, padding: str | bool
    ) -> Any:
        """Tokenize the pair, in overlapping chunks when it is longer than `max_seq_len` tokens."""
        # A tokenizer that pads on the left belongs to a model that reads the question last.
        question_first = self.tokenizer.padding_side == "right"
        pair = (question, context) if question_first else (context, question)
        options: dict[str, Any] = {
            "return_token_type_ids": True,
            "return_attention_mask": True,
            "verbose": False,
        }
        whole = self.tokenizer(*pair, **options)
        context_len = whole.sequence_ids(0).count(self._context_index)
        if context_len == 0:
            raise ValueError("the context has no token that this model knows")
        if len(whole.encodings[0]) > max_seq_len:
            room = max_seq_len - (len(whole.encodings[0]) - context_len)
            options["stride"] = _stride(room, max_seq_len, doc_stride)
            options["truncation"] = "only_second" if question_first else "only_first"
        return self.tokenizer(
            *pair, max_length=max_seq_len, padding=padding, return_overflowing_tokens=True, **options
        )

    @property
    def _model_input_names(self) -> list[str]:
        names = list(self.tokenizer.model_input_names)
        # A tokenizer saved by transformers 4 as the generic class made token types unless it said otherwise;
        # transformers 5 changed that default, and without them a BERT cannot tell question from context.
        if (
            type(self.tokenizer) is PreTrainedTokenizerFast
            and "model_input_names" not in self.tokenizer.init_kwargs
        ):
            names.append("token_type_ids")
        return list(dict.fromkeys(names))

    @property
    def _context_index(self) -> int:
        return 1 if self.tokenizer.padding_side == "right" else 0

    def _token_facts(self, encoding: Any) -> dict[str, list[int]]:
        """Return, for each token of a chunk: may it be in an answer, is it the CLS, and where its characters
        are.

        Lists of `sequence` numbers. As tensors they are padded and moved along with the model's inputs, which
        keeps them in step with the logits whatever the batch.
        """
        context_index, cls_id = self._context_index, self.tokenizer.cls_token_id
        in_context = [sequence == context_index for sequence in encoding.sequence_ids]
        words: dict[int, tuple[int, int]] = {}
        for word, inside, (start, end) in zip(encoding.word_ids, in_context, encoding.offsets, strict=True):
            if inside and word is not None:
                words[word] = (words.get(word, (start, end))[0], end)
        word_spans = [
            words.get(word, (-1, -1)) if inside and word is not None else (-1, -1)
            for word, inside in zip(encoding.word_ids, in_context, strict=True)
        ]
        return {
            "present": list(encoding.attention_mask),
            "in_context": [int(inside) for inside in in_context],
            "is_cls": [
                int(token == cls_id and sequence is None)
                for token, sequence in zip(encoding.ids, encoding.sequence_ids, strict=True)
            ],
            "char_start": [start for start, _ in encoding.offsets],
            "char_end": [end for _, end in encoding.offsets],
            "word_start": [start for start, _ in word_spans],
            "word_end": [end for _, end in word_spans],
        }

    def _forward(self, inputs: dict[str, Any]) -> dict[str, Any]:
        if self.tokenizer.padding_side == "left":
            inputs = _padded_on_the_right(inputs)
        accepted = inspect.signature(self.model.forward).parameters
        names = [name for name in self._model_input_names if name in inputs and name in accepted]
        options = {"use_cache": False} if "use_cache" in accepted else {}
        output = self.model(**{name: inputs[name] for name in names}, **options)
        start, end = (
            (output["start_logits"], output["end_logits"])
            if isinstance(output, Mapping)
            else tuple(output[:2])
        )
        return {"start": start, "end": end, **inputs}

    def postprocess(
        self,
        model_outputs: list[dict[str, Any]],
        top_k: int = 1,
        handle_impossible_answer: bool = False,
        max_answer_len: int = 15,
        align_to_words: bool = True,
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Return the best answer over all chunks of an example (a dict), or the `top_k` best when above 1 (a list)."""
        chunks = (Chunk(output, align_to_words) for output in model_outputs)
        best = best_answers(chunks, top_k, max_answer_len, handle_impossible_answer)
        return best[0] if top_k == 1 else best


def _padded_on_the_right(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the (batch, sequence) tensors with each row's leading padding moved behind it.

    Padding in front shifts the positions of a model that counts them from the first column, and with them its
    answers.
    """
    present = inputs["present"]
    leading = (present.cumsum(dim=1) == 0).sum(dim=1, keepdim=True)
    length = present.shape[1]
    order = (torch.arange(length, device=present.device)[None, :] + leading) % length
    return {
        name: value.gather(1, order) if isinstance(value, torch.Tensor) else value
        for name, value in inputs.items()
    }


def _position_limit(model: Any) -> int | None:
    """Return how many tokens the model has positions for, or None when its positions are relative."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            # RoBERTa and its kin start counting behind the padding index.
            taken = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - taken
    limit = getattr(model.config, "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None


def _stride(room: int, max_seq_len: int, doc_stride: int | None) -> int:
    """Return the overlap of two chunks, in tokens; `room` is what the question leaves for the context."""
    if room < 1:
        raise ValueError(
            f"the question and its special tokens take all of max_seq_len={max_seq_len}: raise max_seq_len or"
            " lower max_question_len"
        )
    if doc_stride is None:
        usual = min(max_seq_len // 2, DEFAULT_DOC_STRIDE)
        return usual if usual < room else room // 2
    if doc_stride >= room:
        raise ValueError(
            f"doc_stride={doc_stride} is too large: with max_seq_len={max_seq_len} this question leaves {room} tokens"
            " of context for a chunk, and the overlap should be smaller than that"
        )
    return doc_stride


def _inputs(positional: tuple[Any, ...], question: Any, context: Any) -> Any:
    """Return what the pipeline runs on: one Example, a list of them, or a stream taken as it is."""
    if len(positional) == 2 and not any(_is_example(item) for item in positional):
        return _pairs(*positional)
    if len(positional) == 1 and context is not None and question is None:
        return _pairs(positional[0], context)
    if not positional:
        return _pairs(question, context)
    given = positional[0] if len(positional) == 1 else list(positional)
    if isinstance(given, GeneratorType | Dataset):
        return given
    if isinstance(given, Mapping):
        return _pairs(_member(given, "question"), _member(given, "context"))
    if _is_example(given):
        return _example(given)
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ValueError(
            "question-answering takes question= and context=, a dict with both, or a list of such dicts; not"
            f" {type(given).__name__}"
        )
    return [_example(item) for item in given]


def _pairs(question: Any, context: Any) -> Example | list[Example]:
    """Pair questions with contexts; a single one of either goes with every one of the other."""
    many_questions, many_contexts = (isinstance(value, list | tuple) for value in (question, context))
    if not many_questions and not many_contexts:
        return _checked(question, context)
    if many_questions and many_contexts and len(question) != len(context):
        raise ValueError(
            f"{len(question)} questions and {len(context)} contexts: there should be as many of each"
        )
    count = len(question) if many_questions else len(context)
    questions = question if many_questions else [question] * count
    contexts = context if many_contexts else [context] * count
    return [_checked(*pair) for pair in zip(questions, contexts, strict=True)]


def _is_example(item: Any) -> bool:
    return isinstance(item, Mapping | Example) or hasattr(item, "question_text")


def _example(item: Any) -> Example:
    """Return one input, a dict or a `SquadExample`, as an Example."""
    if isinstance(item, Example):
        return item
    if isinstance(item, Mapping):
        return _checked(_member(item, "question"), _member(item, "context"))
    if hasattr(item, "question_text") and hasattr(item, "context_text"):
        return _checked(item.question_text, item.context_text)
    raise ValueError(f"an example is a dict with 'question' and 'context', not {type(item).__name__}")


def _member(item: Mapping[str, Any], key: str) -> Any:
    if key not in item:
        raise KeyError(f"an example needs the keys 'question' and 'context'; {key!r} is missing")
    return item[key]


def _checked(question: Any, context: Any) -> Example:
    for name, value in (("question", question), ("context", context)):
        if value is None:
            raise ValueError(f"the {name} is missing: it cannot be None")
        if not isinstance(value, str):
            raise ValueError(f"the {name} should be a string, not {type(value).__name__}")
        if not value.strip():
            raise ValueError(f"the {name} is empty: it cannot be empty or only whitespace")
    return Example(question, context)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _check_at_least(least: int, **options: int | None) -> None:
    for name, value in options.items():
        if value is not None and value < least:
            raise ValueError(f"{name} is {value}: it should be {least} or more")
