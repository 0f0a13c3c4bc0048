"""text-classification: a class, several at once, or a number, for a text or a pair of texts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.errors import DataError, did_you_mean
from llmkit.tasks.inputs import RowError
from llmkit.training.objectives.base import TaskField
from llmkit.training.objectives.batch import Batch, Draw, Example, Verdict
from llmkit.training.objectives.class_names import class_numbers, classes_of
from llmkit.training.objectives.classification import Classification
from llmkit.training.objectives.weighting import class_weights

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from llmkit.training.config import FinetuneConfig

_MOST_CLASSES = 1000
_METRICS = {
    "regression": ("pearson", "spearman", "mse"),
    "multi_label_classification": ("f1_micro", "f1_macro", "accuracy"),
}


class TextClassification(Classification):
    """Cross entropy over classes, binary cross entropy over labels of which several may hold, or squared error.

    Which of the three is told by the labels of the training rows: lists are several at once; numbers with a
    fraction are a number to predict; anything else is a class.
    """

    task = "text-classification"
    fields = (
        TaskField("text", ("sentence", "sentence1", "premise", "question1", "review", "content")),
        TaskField("text_pair", ("sentence2", "hypothesis", "question2"), required=False),
        TaskField("label", ("labels", "target", "class", "score")),
    )
    heads = ("AutoModelForSequenceClassification",)
    metrics = ("accuracy", "f1")
    gives = ("classes", "numbers")

    problem: str = ""
    labels: list[str]
    numbers: dict[str, int]

    def __init__(self, config: FinetuneConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(config, tokenizer)
        self.numbers = {}  # of a model that was trained before: the class that each label of the data is

    def study(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Find the classes, or that there are none because the label is a number.

        Raises:
            DataError: a single class, or more classes than anybody can mean.
        """
        counts: dict[str, int] = {}
        several = fractional = False
        only_numbers = True
        for row in rows:
            label = row["label"]
            several = several or isinstance(label, list)
            for each in label if isinstance(label, list) else [label]:
                number = _number(each)
                only_numbers = only_numbers and number is not None
                fractional = fractional or (number is not None and not number.is_integer())
                if fractional and not only_numbers and self.config.data.labels is None:
                    raise _mixed(each)
                counts[_name(each)] = counts.get(_name(each), 0) + 1
        named = self.config.data.labels
        if not several and only_numbers and fractional and named is None:
            self.problem, self.labels = "regression", []
            return
        self.problem = "multi_label_classification" if several else "single_label_classification"
        self.labels = list(named) if named is not None else sorted(counts, key=_order)
        self.counts = counts
        if not self.labels:
            raise DataError(
                "no training row has a label: there is nothing to learn.",
                hint="Check data.columns: is label the right column?",
            )
        if len(self.labels) < 2 and not several:
            only = self.labels[0] if self.labels else None
            raise DataError(
                f"every training row has the label {only!r}: there is nothing to learn.",
                hint="Check data.columns: is label the right column?",
            )
        if len(self.labels) > _MOST_CLASSES:
            raise DataError(
                f"the training rows have {len(self.labels):,} different labels.",
                hint="Check data.columns: is label the right column? Name the classes in data.labels if it is.",
            )
        if not several:
            class_weights(self.config.training.class_weights, self.labels, counts)

    def adopt(self, model_config: PreTrainedConfig, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take the classes of a trained model, and find which of them each label of the rows is."""
        counts: dict[str, int] = {}
        several = False
        for row in rows:
            label = row["label"]
            several = several or isinstance(label, list)
            for each in label if isinstance(label, list) else [label]:
                counts[_name(each)] = counts.get(_name(each), 0) + 1
        found = "multi_label_classification" if several else "single_label_classification"
        self.problem = model_config.problem_type or ("regression" if model_config.num_labels == 1 else found)
        self.counts = counts
        if self.problem == "regression":
            self.labels = []
            return
        self.labels = classes_of(model_config, self.config.data.labels)
        self.numbers = class_numbers(counts, self.labels)

    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"problem": self.problem, "labels": self.labels}
        return {**facts, "numbers": self.numbers} if self.numbers else facts

    def model_config(self) -> dict[str, Any]:
        if self.problem == "regression":
            return {"num_labels": 1, "problem_type": "regression"}
        names = dict(enumerate(self.labels))
        return {
            "num_labels": len(names),
            "id2label": names,
            "label2id": {name: number for number, name in names.items()},
            "problem_type": self.problem,
        }

    def metrics_for(self) -> tuple[str, ...]:
        if self.problem == "single_label_classification":
            return self.metrics if len(self.labels) == 2 else ("accuracy", "f1_macro")
        return _METRICS[self.problem]

    def each_class(self) -> Sequence[int]:
        return range(len(self.labels)) if self.problem == "single_label_classification" else ()

    def gives_here(self) -> tuple[str, ...]:
        return ("numbers",) if self.problem == "regression" else ("classes",)

    def encode(self, values: Mapping[str, Any]) -> list[Example]:
        label = values["label"]
        example = self.tokenize(values["text"], values.get("text_pair"))
        if not values["text"].strip():
            raise RowError("the text is empty")
        if self.problem == "regression":
            number = _number(label)
            if number is None or not math.isfinite(number):
                raise RowError(f"the label {label!r} is no number")
            return [{**example, "label": number}]
        if self.problem == "multi_label_classification":
            held = {self._number_of(each) for each in (label if isinstance(label, list) else [label])}
            return [{**example, "label": [float(number in held) for number in range(len(self.labels))]}]
        return [{**example, "label": self._number_of(label)}]

    def _number_of(self, label: Any) -> int:
        name = _name(label)
        if name in self.numbers:
            return self.numbers[name]
        if name not in self.labels:
            near = did_you_mean(name, self.labels)
            known = ", ".join(self.labels[:10])
            whose = "the training rows'" if self.config.data.labels is None else "data.labels"
            raise RowError(f"the label {name!r} is none of {whose}: {near or known}")
        return self.labels.index(name)

    def collate(self, examples: Sequence[Example], draws: Sequence[Draw]) -> Batch:
        import torch

        inputs, tokens, padded = self.padded(examples)
        labels = torch.tensor([example["label"] for example in examples])
        weights = self._weights(labels)
        targets = float(len(examples)) if weights is None else float(weights[labels].sum())
        if self.problem == "multi_label_classification":
            targets = float(labels.numel())
        return Batch(inputs, labels, targets, tokens, padded)

    def _weights(self, labels: torch.Tensor) -> torch.Tensor | None:
        return super()._weights(labels) if self.problem == "single_label_classification" else None

    def _loss_of(self, logits: torch.Tensor, labels: torch.Tensor, reduction: str = "sum") -> torch.Tensor:
        from torch.nn import functional

        logits = logits.float()
        if self.problem == "regression":
            return functional.mse_loss(logits.squeeze(-1), labels.float(), reduction=reduction)
        if self.problem == "multi_label_classification":
            return functional.binary_cross_entropy_with_logits(logits, labels, reduction=reduction)
        return functional.cross_entropy(
            logits,
            labels,
            weight=self._weights(labels),
            label_smoothing=self.config.training.label_smoothing,
            reduction=reduction,
        )

    def shown_label(self, example: Example, batch: Batch) -> Any:
        return self.readable(example["label"])

    # -- judging

    def _judged(self, logits: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, list[Any], list[Any]]:
        loss = self._loss_of(logits, batch.labels)
        if self.problem == "regression":
            return loss, logits.squeeze(-1).tolist(), batch.labels.tolist()
        if self.problem == "multi_label_classification":
            return loss, (logits > 0).int().tolist(), batch.labels.int().tolist()
        return loss, logits.argmax(-1).tolist(), batch.labels.tolist()

    def judge_closely(self, model: PreTrainedModel, batch: Batch) -> Verdict:
        logits = model(**batch.inputs).logits
        losses = self._loss_of(logits, batch.labels, "none")
        if losses.dim() > 1:
            losses = losses.mean(-1)
        probabilities = None
        if self.problem == "single_label_classification":
            probabilities = logits.float().softmax(-1).amax(-1).tolist()
        elif self.problem == "multi_label_classification":
            # Of the whole row, the labels taken as independent.
            chances = logits.float().sigmoid()
            probabilities = chances.maximum(1 - chances).prod(-1).tolist()
        return Verdict(*self._judged(logits, batch), losses.tolist(), probabilities)

    def readable(self, value: Any) -> Any:
        if self.problem == "regression":
            return value
        if self.problem == "multi_label_classification":
            return [name for name, held in zip(self.labels, value, strict=True) if held]
        return self.labels[value]


def _number(label: Any) -> float | None:
    if isinstance(label, bool) or not isinstance(label, int | float | str):
        return None
    try:
        return float(label)
    except ValueError:
        return None


def _mixed(label: Any) -> RowError:
    """Say that some labels are numbers with a fraction, which are predicted, and others are words."""
    what = "a number" if _number(label) is not None else "no number"
    return RowError(
        f"the label {label!r} is {what}, unlike those of rows before it",
        hint="Name the classes in data.labels if these are classes.",
    )


def _name(label: Any) -> str:
    """Return a label as text, the same for 1 and "1", which depend on the format of the file alone."""
    if label is None or label == "":
        raise RowError("the label is missing")
    if isinstance(label, bool):
        return str(label).lower()
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    if not isinstance(label, str | int | float):
        raise RowError(f"the label {label!r} is neither a name nor a number")
    return str(label)


def _order(name: str) -> tuple[int, float, str]:
    """Sort numbers by their value, before names by the alphabet."""
    number = _number(name)
    return (1, 0.0, name) if number is None else (0, number, name)
