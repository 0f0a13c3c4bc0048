"""multiple-choice: the right one of several endings (SWAG), or of several answers to a question."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.data.numerals import whole_number
from llmkit.data.records import Record
from llmkit.tasks.inputs import RowError
from llmkit.training.objectives.base import Objective, TaskField
from llmkit.training.objectives.batch import Batch, Draw, Example, Verdict
from llmkit.training.objectives.cells import listed, unpacked
from llmkit.training.objectives.weighting import choice_loss, each_choice_loss

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_ENDING_COLUMN = re.compile(r"(?:ending|choice|option)_?(\d+)")
_LETTER = re.compile(r"[A-Z]")


class MultipleChoice(Objective):
    """Cross entropy over the endings of a row, each scored by the model beside the context.

    Every ending goes through the model as a text of its own, so rows may have different numbers of them, and
    nothing is computed on endings that are not there.
    """

    task = "multiple-choice"
    fields = (
        TaskField("context", ("sent1", "premise", "article", "sentence"), required=False),
        TaskField("question", ("sent2", "startphrase"), required=False),
        TaskField("endings", ("choices", "options")),
        TaskField("label", ("answer", "answerKey", "labels")),
    )
    heads = ("AutoModelForMultipleChoice",)
    metrics = ("accuracy",)
    gives = ("classes",)

    # -- from rows to examples

    def values_of(self, record: Record) -> dict[str, Any]:
        """Return what the task takes from a row; the columns ending0, ending1, … are the endings."""
        columns = {int(match[1]): name for name in record.values if (match := _ENDING_COLUMN.fullmatch(name))}
        if "endings" in self.config.data.columns or not columns:
            return super().values_of(record)
        endings = [record.values[name] for _, name in sorted(columns.items())]
        # A row of a csv that has fewer endings leaves the last cells empty.
        while endings and endings[-1] in (None, ""):
            endings.pop()
        return super().values_of(Record({**record.values, "endings": endings}, record.source, record.line))

    def encode(self, values: Mapping[str, Any]) -> list[Example]:
        """Return the example of a row: `input_ids` and its like are lists of lists, one for each ending."""
        endings, marks = _endings(values["endings"])
        first, begin = _texts(values)
        label = _right_one(values["label"], endings, marks)
        choices = [self.tokenize(first, f"{begin} {each}" if begin else each) for each in endings]
        return [{**{name: [each[name] for each in choices] for name in choices[0]}, "label": label}]

    # -- from examples to a loss

    def collate(self, examples: Sequence[Example], draws: Sequence[Draw]) -> Batch:
        """Make a batch of all endings of all rows.

        Its inputs are (endings of all rows, 1, sequence), as if each ending were the only one of a row; its
        labels are (rows, 2): the number of the right ending, and how many there are.
        """
        import torch

        names = [name for name in self.tokenizer.model_input_names if name in examples[0]]
        choices = [
            {name: example[name][number] for name in names}
            for example in examples
            for number in range(len(example["input_ids"]))
        ]
        inputs, tokens, padded = self.padded(choices)
        labels = [[each["label"], len(each["input_ids"])] for each in examples]
        return Batch(
            {name: tensor.unsqueeze(1) for name, tensor in inputs.items()},
            torch.tensor(labels),
            float(len(examples)),
            tokens,
            padded,
        )

    def loss(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        return self._loss_of(*self._scores(model, batch), batch)

    def _scores(self, model: PreTrainedModel, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the score of each ending, (rows, most endings), and which of them there are."""
        import torch

        counts = batch.labels[:, 1]
        there = torch.arange(int(counts.max()), device=counts.device)[None, :] < counts[:, None]
        scores = model(**batch.inputs).logits.flatten().float()
        return torch.zeros_like(there, dtype=scores.dtype).masked_scatter(there, scores), there

    def _loss_of(self, scores: torch.Tensor, there: torch.Tensor, batch: Batch) -> torch.Tensor:
        return choice_loss(scores, batch.labels[:, 0], there, self.config.training.label_smoothing)

    # -- judging

    def judge(self, model: PreTrainedModel, batch: Batch) -> tuple[torch.Tensor, list[Any], list[Any]]:
        return self._judged(*self._scores(model, batch), batch)

    def _judged(
        self, scores: torch.Tensor, there: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, list[Any], list[Any]]:
        import torch

        best = scores.masked_fill(~there, -torch.inf).argmax(-1)
        return self._loss_of(scores, there, batch), best.tolist(), batch.labels[:, 0].tolist()

    def judge_closely(self, model: PreTrainedModel, batch: Batch) -> Verdict:
        import torch

        scores, there = self._scores(model, batch)
        smoothing = self.config.training.label_smoothing
        losses = each_choice_loss(scores, batch.labels[:, 0], there, smoothing)
        sure = scores.masked_fill(~there, -torch.inf).softmax(-1).amax(-1)
        return Verdict(*self._judged(scores, there, batch), losses, sure.tolist())


def _endings(value: Any) -> tuple[list[str], list[Any]]:
    """Return the endings, and their marks (A, B, …) where the row names them.

    Args:
        value: a list, ``{"text": […], "label": […]}`` as in ARC and CommonsenseQA, or either as JSON.
    """
    value = unpacked(value)
    marks: list[Any] = []
    if isinstance(value, Mapping) and "text" in value:
        marks, value = list(value.get("label") or ()), value["text"]
    endings = listed(value, "endings")
    for number, ending in enumerate(endings):
        if not isinstance(ending, str) or not ending.strip():
            raise RowError(
                f"ending {number} is {'empty' if ending in (None, '') else f'no text: {ending!r}'}"
            )
    if len(endings) < 2:
        raise RowError(
            f"there {'is one ending' if endings else 'are no endings'}, and two or more are needed"
        )
    return endings, marks


def _texts(values: Mapping[str, Any]) -> tuple[str, str]:
    """Return the text that each ending is read beside, and how each ending begins."""
    context, question = (values.get(name) or "" for name in ("context", "question"))
    for text in (context, question):
        if not isinstance(text, str):
            raise RowError(f"{text!r} is no text")
    if not context.strip() and not question.strip():
        raise RowError("there is neither a context nor a question")
    return (context, question) if context.strip() else (question, "")


def _right_one(label: Any, endings: Sequence[str], marks: Sequence[Any]) -> int:
    """Return the number of the right ending: said by its number from 0, its mark or letter, or its text."""
    if label in marks:
        return marks.index(label)
    if label in endings:
        return endings.index(label)
    number: Any = label
    if isinstance(label, str):
        text = label.strip()
        number = label if (said := whole_number(text)) is None else said
        if _LETTER.fullmatch(text):
            number = ord(text) - ord("A")
    elif isinstance(label, float) and label.is_integer():
        number = int(label)
    if isinstance(number, bool) or not isinstance(number, int):
        raise RowError(f"the label {label!r} is neither the number of an ending nor one of them")
    if not 0 <= number < len(endings):
        raise RowError(
            f"the label {label!r} names none of the {len(endings)} endings",
            hint=f"They are counted from 0 to {len(endings) - 1}.",
        )
    return number
