"""Answers to questions: what callers give, and how the official SQuAD scripts compare texts."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Any

from llmkit.errors import DataError
from llmkit.metrics.inputs import listed, paired

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized_answer(text: str) -> str:
    """Return the text in lower case without punctuation, articles and superfluous spaces.

    As `normalize_answer` in https://rajpurkar.github.io/SQuAD-explorer/.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def token_f1(prediction: str, answer: str, *, empty: bool) -> float:
    """Return F1 over the words of the normalised texts, 0 to 1.

    Args:
        prediction: a text.
        answer: a gold answer.
        empty: two texts of no words agree (SQuAD 2.0's script); else they score 0 (the script of 1.1).
    """
    called, true = normalized_answer(prediction).split(), normalized_answer(answer).split()
    if empty and not (called and true):
        return float(called == true)
    common = (Counter(called) & Counter(true)).total()
    if not common:
        return 0.0
    precision, recall = common / len(called), common / len(true)
    return 2 * precision * recall / (precision + recall)


@dataclass(frozen=True)
class Answered:
    """One question: the predicted text (None for no prediction at all) and its gold answers."""

    name: str
    text: str | None
    no_answer_probability: float
    golds: tuple[str, ...]


def answered_questions(predictions: Any, references: Any) -> list[Answered]:
    """Pair predictions with references: by their ids, or by their places where they have none.

    Args:
        predictions: a text each, or ``{"id", "prediction_text"[, "no_answer_probability"]}``.
        references: ``{"id", "answers": {"text": [...]}}``, or only the answers: ``{"text": [...]}``, a list of
            texts, a text.

    Raises:
        DataError: they have other shapes, ids on one side only, or without ids another number.
    """
    predictions, references = listed(predictions, "predictions"), listed(references, "references")
    ids = [isinstance(each, Mapping) and "id" in each for each in (*predictions, *references)]
    if any(ids) and not all(ids):
        raise DataError("some predictions or references have an 'id', others do not.")
    if all(ids) and references:
        by_id = {each["id"]: each for each in predictions}
        pairs = [(by_id.get(each["id"]), each) for each in references]
    else:
        pairs = list(zip(*paired(predictions, references), strict=True))
    return [_answered(place, *pair) for place, pair in enumerate(pairs)]


def _answered(place: int, prediction: Any, reference: Any) -> Answered:
    name = str(reference.get("id", place)) if isinstance(reference, Mapping) else str(place)
    answers = reference
    if isinstance(reference, Mapping):
        answers = reference.get("answers", reference)
    if isinstance(answers, Mapping):
        answers = answers.get("text")
    if isinstance(answers, str):
        answers = [answers]
    golds: list[Any] = [each.get("text") if isinstance(each, Mapping) else each for each in answers or ()]
    if answers is None or not all(isinstance(gold, str) for gold in golds):
        raise DataError(
            f"the answers of question {name} are {reference!r}.", hint='They look like ["text", …].'
        )
    text, probability = prediction, None
    if isinstance(prediction, Mapping):
        text, probability = prediction.get("prediction_text"), prediction.get("no_answer_probability")
    if not isinstance(text, str) and prediction is not None:
        raise DataError(f"the prediction for question {name} is {prediction!r}.", hint="It is a text.")
    return Answered(name, text, nan if probability is None else float(probability), tuple(golds))
