"""question-answering: the words of a context that answer a question, or that none do (SQuAD 1.1 and 2.0)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmkit.errors import DataError, ModelError, UsageError
from llmkit.tasks.inputs import RowError
from llmkit.training.objectives.answers import Answer, gold_answers
from llmkit.training.objectives.base import Objective, TaskField
from llmkit.training.objectives.batch import Batch, Draw, Example, Verdict
from llmkit.training.objectives.weighting import choice_loss, each_choice_loss

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from llmkit.training.config import FinetuneConfig
    from llmkit.training.evaluation import Judged

LONGEST_PART = 384
"""Tokens of question and part by default: what BERT was fine-tuned with, and what the pipeline cuts into."""

LONGEST_ANSWER = 30
"""Tokens that a predicted answer may have, as in the evaluation of BERT (https://arxiv.org/abs/1810.04805)."""

_NOWHERE = -1
_OF_ENCODING = {"input_ids": "ids", "token_type_ids": "type_ids", "attention_mask": "attention_mask"}


class QuestionAnswering(Objective):
    """Half the cross entropy of the answer's first token and half that of its last, among the tokens of a part.

    A context that is too long is cut into parts that overlap. Where a part does not hold the answer, the right
    token is [CLS], as for a question that has none. To judge, the parts of a question are put together again
    and its best span counts, against all its gold answers.
    """

    task = "question-answering"
    fields = (
        TaskField("question"),
        TaskField("context", ("passage", "paragraph", "text")),
        TaskField("answers", ("answer", "answer_text")),
        TaskField("answer_start", ("start",), required=False),
    )
    heads = ("AutoModelForQuestionAnswering",)
    metrics = ("squad",)
    gives = ("answers", "answers or none", "texts with several references")

    unanswerable = False

    def __init__(self, config: FinetuneConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(config, tokenizer)
        if not tokenizer.is_fast:
            raise ModelError(
                f"{config.model.name}: {self.task} needs a fast tokenizer, one that tells where tokens stand."
            )
        if config.data.max_length is None:
            self.max_length = min(self.max_length, LONGEST_PART)
        stride = config.data.stride
        if stride >= self.max_length and stride != type(config.data).model_fields["stride"].default:
            raise UsageError(
                f"data.stride: {stride}: parts of {self.max_length} tokens cannot share so many.",
                hint="Take about a third of data.max_length.",
            )

    # -- from rows to examples

    def study(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Find whether there are questions without an answer.

        Raises:
            RowError: an answer does not stand where it says.
            DataError: no question has an answer.
        """
        answered = False
        for row in rows:
            has_answer = bool(self._gold(row))
            answered = answered or has_answer
            self.unanswerable = self.unanswerable or not has_answer
        if not answered:
            raise DataError(
                "no question of the training rows has an answer: there is nothing to learn.",
                hint="Check data.columns: is answers the right column?",
            )

    def adopt(self, model_config: PreTrainedConfig, rows: Iterable[Mapping[str, Any]]) -> None:
        """Find whether there are questions without an answer; a set of such questions alone will do."""
        self.unanswerable = any(not self._gold(row) for row in rows)

    def _gold(self, values: Mapping[str, Any]) -> list[Answer]:
        for name in ("question", "context"):
            if not isinstance(values[name], str) or not values[name].strip():
                raise RowError(f"the {name} is {'empty' if values[name] in (None, '') else 'no text'}")
        return gold_answers(values["context"], values["answers"], values.get("answer_start"))

    def facts(self) -> dict[str, Any]:
        return {"unanswerable": self.unanswerable}

    def metrics_for(self) -> tuple[str, ...]:
        return ("squad_v2",) if self.unanswerable else self.metrics

    def encode(self, values: Mapping[str, Any]) -> list[Example]:
        """Return an example for each part of the context.

        `starts` and `ends` are the characters of the context that each token stands for, -1 outside of it.
        """
        gold = self._gold(values)
        if not gold and not self.unanswerable:
            raise RowError("the question has no answer, and every question of the training rows has one")
        encoded = self._cut(values["question"].strip(), values["context"])
        answers = {"text": [each.text for each in gold], "answer_start": [each.start for each in gold]}
        examples: list[Example] = []
        for part, encoding in enumerate(encoded.encodings):
            inputs = {
                name: list(getattr(encoding, own)) for name, own in _OF_ENCODING.items() if name in encoded
            }
            starts, ends = self._characters(encoding)
            nothing = self._nothing(inputs["input_ids"])
            first, last = _span(gold[0], starts, ends) if gold else (_NOWHERE, _NOWHERE)
            examples.append(
                {
                    **inputs,
                    "part": part,
                    "first": nothing if first == _NOWHERE else first,
                    "last": nothing if first == _NOWHERE else last,
                    "nothing": nothing,
                    "starts": starts,
                    "ends": ends,
                    "context": values["context"],
                    "answers": json.dumps(answers),  # as text: Arrow cannot tell the type of an empty list
                }
            )
        return examples

    def _cut(self, question: str, context: str) -> Any:
        """Tokenize the pair, in overlapping parts where it is too long."""
        pair = (question, context) if not self._left else (context, question)
        options: dict[str, Any] = {"return_offsets_mapping": True, "verbose": False}
        whole = self.tokenizer(*pair, **options)
        length = len(whole.encodings[0])
        if length <= self.max_length:
            return _with_context(whole, self._context_index)
        room = self.max_length - (length - whole.sequence_ids(0).count(self._context_index))
        if room < 1:
            raise RowError(
                f"the question leaves no room for the context in {self.max_length:,} tokens",
                hint="Raise data.max_length, or shorten the question.",
            )
        return self.tokenizer(
            *pair,
            max_length=self.max_length,
            truncation="only_first" if self._left else "only_second",
            # At least half of a part is new, or there would be no end of them.
            stride=min(self.config.data.stride, room // 2),
            return_overflowing_tokens=True,
            **options,
        )

    @property
    def _context_index(self) -> int:
        # A tokenizer that pads on the left belongs to a model that reads the question last.
        return 0 if self._left else 1

    def _characters(self, encoding: Any) -> tuple[list[int], list[int]]:
        spans = [
            span if sequence == self._context_index and span[0] < span[1] else (_NOWHERE, _NOWHERE)
            for span, sequence in zip(encoding.offsets, encoding.sequence_ids, strict=True)
        ]
        return [start for start, _ in spans], [end for _, end in spans]

    def _nothing(self, input_ids: list[int]) -> int:
        """Return the token that stands for no answer: [CLS], or one of the question's where there is none."""
        mark = self.tokenizer.cls_token_id
        if mark in input_ids:
            return input_ids.index(mark)
        return len(input_ids) - 1 if self._left else 0

    # -- from examples to a loss

    def collate(self, examples: Sequence[Example], draws: Sequence[Draw]) -> Batch:
        """Make a batch; its labels are (batch, 2): the first and the last token of each answer."""
        import torch

        inputs, tokens, padded = self.padded(examples)
        longest = inputs["input_ids"].shape[1]
        labels = []
        for each in examples:
            begin = self.begins_at(len(each["input_ids"]), longest)
            labels.append([begin + each["first"], begin + each["last"]])
        return Batch(
            inputs, torch.tensor(labels), float(len(examples)), tokens, padded, examples=tuple(examples)
        )

    def loss(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        return self._loss_of(model(**batch.inputs), batch)

    def _loss_of(self, output: Any, batch: Batch) -> torch.Tensor:
        real = batch.inputs.get("attention_mask")
        smoothing = self.config.training.label_smoothing
        first = choice_loss(output.start_logits, batch.labels[:, 0], real, smoothing)
        return (first + choice_loss(output.end_logits, batch.labels[:, 1], real, smoothing)) / 2

    def shown_label(self, example: Example, batch: Batch) -> Any:
        """Return the tokens of the answer; none where it is not in this part of the context."""
        first, last = batch.labels[0].tolist()
        is_there = first != example["nothing"]
        return self.named_targets(example["input_ids"][first : last + 1]) if is_there else []

    # -- judging

    def judge(self, model: PreTrainedModel, batch: Batch) -> tuple[torch.Tensor, list[Any], list[Any]]:
        """Return for each part the likeliest answer in it, and how likely it is that there is none."""
        return self._judged(model(**batch.inputs), batch)

    def _judged(self, output: Any, batch: Batch) -> tuple[torch.Tensor, list[Any], list[Any]]:
        start, end = output.start_logits.float().cpu(), output.end_logits.float().cpu()
        found = []
        for row, example in enumerate(batch.examples):
            begin = self.begins_at(len(example["input_ids"]), start.shape[1])
            mine = slice(begin, begin + len(example["input_ids"]))
            found.append(_likeliest(example, start[row, mine], end[row, mine]))
        return self._loss_of(output, batch), found, [each["answers"] for each in batch.examples]

    def judge_closely(self, model: PreTrainedModel, batch: Batch) -> Verdict:
        output = model(**batch.inputs)
        real, smoothing = batch.inputs.get("attention_mask"), self.config.training.label_smoothing
        ends = [
            each_choice_loss(logits, batch.labels[:, column], real, smoothing)
            for column, logits in enumerate((output.start_logits, output.end_logits))
        ]
        losses = [(first + last) / 2 for first, last in zip(*ends, strict=True)]
        loss, predictions, references = self._judged(output, batch)
        return Verdict(loss, predictions, references, losses, [each["score"] for each in predictions])

    def readable(self, value: Any) -> Any:
        return value["text"] if isinstance(value, Mapping) else value

    def settle(self, judged: Judged) -> Judged:
        """Return one answer for each question, the likeliest over its parts, and its gold answers."""
        predictions: list[str] = []
        references: list[Any] = []
        parts: list[Mapping[str, Any]] = []

        def settled() -> None:
            best = max(parts, key=lambda part: part["score"])
            nothing = min(part["nothing"] for part in parts)
            predictions.append("" if self.unanswerable and nothing > best["score"] else best["answer"])

        for part, answers in zip(judged.predictions, judged.references, strict=True):
            if part["part"] == 0:
                if parts:
                    settled()
                parts = []
                references.append(json.loads(answers))
            parts.append(part)
        if parts:
            settled()
        return replace(judged, predictions=predictions, references=references)


def _with_context(encoded: Any, context_index: int) -> Any:
    """Return a tokenized pair.

    Raises:
        RowError: nothing of the context is left in it.
    """
    if context_index not in encoded.sequence_ids(0):
        raise RowError("the context has no token that the model knows")
    return encoded


def _span(answer: Answer, starts: Sequence[int], ends: Sequence[int]) -> tuple[int, int]:
    """Return the first and the last token of an answer, or nowhere if the part does not hold all of it.

    Args:
        starts, ends: the characters of the context that each token stands for, -1 outside of it.
    """
    inside = [number for number, start in enumerate(starts) if start != _NOWHERE]
    if not inside or starts[inside[0]] > answer.start or ends[inside[-1]] < answer.end:
        return _NOWHERE, _NOWHERE
    within = [number for number in inside if ends[number] > answer.start and starts[number] < answer.end]
    return (within[0], within[-1]) if within else (_NOWHERE, _NOWHERE)


def _likeliest(example: Example, start: torch.Tensor, end: torch.Tensor) -> dict[str, Any]:
    """Return the likeliest answer of a part, as the pipeline finds it.

    Args:
        start, end: logits, (sequence,).
    """
    import torch

    from llmkit.tasks.answer_spans import Chunk

    starts, ends = torch.tensor([example["starts"]]), torch.tensor([example["ends"]])
    is_nothing = torch.zeros_like(starts)
    is_nothing[0, example["nothing"]] = 1
    chunk = Chunk(
        {
            "context": example["context"],
            "start": start.unsqueeze(0),
            "end": end.unsqueeze(0),
            "present": torch.ones_like(starts),
            "in_context": (starts != _NOWHERE).long(),
            "is_cls": is_nothing,
            "char_start": starts,
            "char_end": ends,
            "word_start": starts,
            "word_end": ends,
        },
        align_to_words=False,
    )
    best: Mapping[str, Any] = next(iter(chunk.answers(1, LONGEST_ANSWER)), {"answer": "", "score": 0.0})
    return {
        "part": example["part"],
        "answer": best["answer"].strip(),
        "score": best["score"],
        "nothing": chunk.null_score,
    }
