"""token-classification: a tag for each word of a sentence: named entities, parts of speech."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from llmkit.errors import DataError, ModelError, did_you_mean
from llmkit.tasks.inputs import RowError
from llmkit.training.objectives.base import TaskField
from llmkit.training.objectives.batch import IGNORED, Batch, Draw, Example, Verdict
from llmkit.training.objectives.cells import listed
from llmkit.training.objectives.class_names import class_numbers, classes_of
from llmkit.training.objectives.classification import Classification
from llmkit.training.objectives.weighting import class_weights

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from llmkit.training.config import FinetuneConfig
    from llmkit.training.evaluation import Judged

OUTSIDE = "O"
_ENTITY_TAG = re.compile(r"O|[BIESLUM]-.+")


class TokenClassification(Classification):
    """Cross entropy over the tags, at the first token of each word; its other tokens are no targets.

    Words are joined by spaces and tokenized as one text: so the model sees while it learns what it will see of
    a plain text. In an evaluation every word counts: one that was cut off, or that has no token, is held to
    have been given the tag O.
    """

    task = "token-classification"
    fields = (
        TaskField("words", ("tokens", "sentence")),
        TaskField("tags", ("ner_tags", "labels", "pos_tags", "label")),
    )
    heads = ("AutoModelForTokenClassification",)
    metrics = ("seqeval",)
    gives = ("tags", "classes")

    labels: list[str]
    counts: dict[str, int]

    def __init__(self, config: FinetuneConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(config, tokenizer)
        if not tokenizer.is_fast:
            raise ModelError(
                f"{config.model.name}: {self.task} needs a fast tokenizer, one that tells where tokens stand."
            )
        self.numbers: dict[str, int] = {}  # of a model that was trained before: the class that each tag is

    # -- from rows to examples

    def study(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Find the tags: O first, the others sorted.

        Raises:
            RowError: a row has no list of words, or not as many tags.
            DataError: every word has the same tag.
            UsageError: there is another number of class weights than of tags.
        """
        self.counts = {}
        for row in rows:
            for _, tag in self._tagged(row):
                self.counts[tag] = self.counts.get(tag, 0) + 1
        named = self.config.data.labels
        self.labels = named or sorted(self.counts, key=lambda tag: (tag != OUTSIDE, tag))
        if len(self.labels) < 2:
            only = self.labels[0] if self.labels else None
            raise DataError(
                f"every word of the training rows has the tag {only!r}: there is nothing to learn.",
                hint="Check data.columns: is tags the right column?",
            )
        class_weights(self.config.training.class_weights, self.labels, self.counts)

    def adopt(self, model_config: PreTrainedConfig, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take the tags of a trained model, and find which of them each tag of the rows is."""
        self.counts = {}
        for row in rows:
            for _, tag in self._tagged(row):
                self.counts[tag] = self.counts.get(tag, 0) + 1
        self.labels = classes_of(model_config, self.config.data.labels)
        self.numbers = class_numbers(self.counts, self.labels)

    def _tagged(self, values: Mapping[str, Any]) -> list[tuple[str, str]]:
        words, tags = listed(values["words"], "words"), listed(values["tags"], "tags")
        if len(words) != len(tags):
            raise RowError(f"{len(words)} words and {len(tags)} tags")
        if not words:
            raise RowError("there are no words")
        for word in words:
            if not isinstance(word, str):
                raise RowError(f"the word {word!r} is no text")
        return list(zip(words, map(self._name, tags), strict=True))

    def _name(self, tag: Any) -> str:
        """Return a tag as text; a number is the place of one in data.labels, as in data sets of the hub."""
        if isinstance(tag, int) and not isinstance(tag, bool):
            named = self.config.data.labels
            return named[tag] if named and 0 <= tag < len(named) else str(tag)
        if not isinstance(tag, str) or not tag.strip():
            raise RowError(f"the tag {tag!r} is no text")
        return tag.strip()

    def facts(self) -> dict[str, Any]:
        return {"labels": self.labels, "numbers": self.numbers} if self.numbers else {"labels": self.labels}

    def model_config(self) -> dict[str, Any]:
        names = dict(enumerate(self.labels))
        return {
            "num_labels": len(names),
            "id2label": names,
            "label2id": {name: number for number, name in names.items()},
        }

    def metrics_for(self) -> tuple[str, ...]:
        """Whole entities where the tags are of entities; for parts of speech and the like, each word."""
        return self.metrics if all(map(_ENTITY_TAG.fullmatch, self.labels)) else ("accuracy",)

    def encode(self, values: Mapping[str, Any]) -> list[Example]:
        """Return the example of a sentence.

        `labels` is as long as `input_ids`. `tags` are those of all words, and `at` the token that each word's
        tag is read from, -1 for none.
        """
        words, names = zip(*self._tagged(values), strict=True)
        tags = [self._number_of(name, word) for name, word in zip(names, words, strict=True)]
        example, spans = self._tokenized(" ".join(words))
        at = _first_tokens(words, spans)
        labels = [IGNORED] * len(spans)
        for tag, position in zip(tags, at, strict=True):
            if position >= 0:
                labels[position] = tag
        if all(label == IGNORED for label in labels):
            raise RowError("none of the words has a token that the model knows")
        return [{**example, "labels": labels, "tags": tags, "at": at}]

    def _number_of(self, name: str, word: str) -> int:
        if name in self.numbers:
            return self.numbers[name]
        if name not in self.labels:
            known = f"They are: {', '.join(self.labels[:20])}."
            raise RowError(
                f"the tag {name!r} of the word {word!r} is none of the training rows'",
                hint=did_you_mean(name, self.labels) or known,
            )
        return self.labels.index(name)

    def _tokenized(self, text: str) -> tuple[Example, list[tuple[int, int]]]:
        """Return the token ids of a text, and the characters that each token stands for."""
        example = self.tokenize(text)
        spans = self.tokenizer(
            text, truncation=True, max_length=self.max_length, return_offsets_mapping=True
        ).offset_mapping
        return example, [(start, end) for start, end in spans]

    # -- from examples to a loss

    def collate(self, examples: Sequence[Example], draws: Sequence[Draw]) -> Batch:
        import torch

        inputs, tokens, padded = self.padded(examples)
        longest = inputs["input_ids"].shape[1]
        labels = torch.tensor(self.aligned([each["labels"] for each in examples], longest, IGNORED))
        weights = self._weights(labels)
        is_target = labels != IGNORED
        targets = float(is_target.sum()) if weights is None else float(weights[labels[is_target]].sum())
        return Batch(inputs, labels, targets, tokens, padded, examples=tuple(examples))

    def _loss_of(self, logits: torch.Tensor, labels: torch.Tensor, reduction: str = "sum") -> torch.Tensor:
        from torch.nn import functional

        return functional.cross_entropy(
            logits.float().flatten(0, 1),
            labels.flatten(),
            weight=self._weights(labels),
            ignore_index=IGNORED,
            label_smoothing=self.config.training.label_smoothing,
            reduction=reduction,
        )

    def shown_label(self, example: Example, batch: Batch) -> Any:
        return ["" if each == IGNORED else self.labels[each] for each in batch.labels[0].tolist()]

    # -- judging

    def _judged(self, logits: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, list[Any], list[Any]]:
        found = logits.argmax(-1).tolist()
        longest = logits.shape[1]
        predictions = []
        for numbers, example in zip(found, batch.examples, strict=True):
            begin = self.begins_at(len(example["input_ids"]), longest)
            predictions.append(
                [self.labels[numbers[begin + at]] if at >= 0 else OUTSIDE for at in example["at"]]
            )
        references = [[self.labels[tag] for tag in example["tags"]] for example in batch.examples]
        return self._loss_of(logits, batch.labels), predictions, references

    def judge_closely(self, model: PreTrainedModel, batch: Batch) -> Verdict:
        """Judge a batch; a sentence's probability is that of its least likely predicted tag."""
        logits = model(**batch.inputs).logits
        is_target = batch.labels != IGNORED
        losses = self._loss_of(logits, batch.labels, "none").view(batch.labels.shape).sum(1) / is_target.sum(
            1
        )
        sure = logits.float().softmax(-1).amax(-1).masked_fill(~is_target, 1.0).amin(1)
        return Verdict(*self._judged(logits, batch), losses.tolist(), sure.tolist())

    def for_metric(self, takes: str, judged: Judged) -> Judged:
        """Return tags by sentence, to find the entities in them, and word by word for other metrics."""
        if takes == "tags":
            return judged
        return replace(
            judged,
            predictions=list(chain.from_iterable(judged.predictions)),
            references=list(chain.from_iterable(judged.references)),
        )


def _first_tokens(words: Sequence[str], spans: Sequence[tuple[int, int]]) -> list[int]:
    """Return the number of each word's first token, -1 for none.

    Args:
        words: joined by single spaces they are the text.
        spans: the characters of the text that each token stands for; some tokenizers count the space before a
            word to its first token, so a token is told by its last character.
    """
    starts = [0]
    for word in words[:-1]:
        starts.append(starts[-1] + len(word) + 1)
    at = [-1] * len(words)
    for number, (start, end) in enumerate(spans):
        if start == end:  # [CLS] and the like
            continue
        nearest = bisect_right(starts, end - 1) - 1
        is_inside = end - 1 < starts[nearest] + len(words[nearest])
        if is_inside and at[nearest] < 0:
            at[nearest] = number
    return at
