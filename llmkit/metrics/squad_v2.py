"""Exact match and F1 where some questions have no answer, as the official script of SQuAD 2.0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.errors import DataError
from llmkit.metrics.answers import Answered, answered_questions, normalized_answer, token_f1
from llmkit.metrics.kept import KeptMetric
from llmkit.metrics.metric import Result

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class SquadV2(KeptMetric):
    """Scores as the evaluation script of SQuAD 2.0 gives them; 0 to 100.

    Examples are what `answers.answered_questions` takes. An empty text says that there is no answer. Where every
    prediction has a ``no_answer_probability``, the thresholds that would have been best are found, too. That needs
    the examples one by one: five floats (40 bytes) each are kept.

    Args:
        no_answer_threshold: a question with a greater probability counts as said to have no answer.
    """

    width = 5
    compute_options = frozenset({"no_answer_threshold"})
    result_keys = ("exact", "f1", "total")

    def __init__(self, *, no_answer_threshold: float = 1.0) -> None:
        super().__init__()
        self.no_answer_threshold = no_answer_threshold

    def rows(self, predictions: Any, references: Any) -> NDArray[np.float64]:
        import numpy as np

        rows = [_row(question) for question in answered_questions(predictions, references)]
        return np.array(rows, dtype=np.float64).reshape(-1, self.width)

    def result(self, rows: NDArray[np.float64]) -> Result:
        import numpy as np

        exact, f1, has_answer, answered, probability = rows.T
        said_none = probability > self.no_answer_threshold
        scores = {
            name: np.where(said_none, 1.0 - has_answer, raw) for name, raw in (("exact", exact), ("f1", f1))
        }
        found = _means(scores, "")
        for prefix, chosen in (("HasAns_", has_answer == 1), ("NoAns_", has_answer == 0)):
            if chosen.any():
                found |= _means({name: score[chosen] for name, score in scores.items()}, prefix)
        if not np.isnan(probability).any():
            for name, raw in (("exact", exact), ("f1", f1)):
                found |= _best_threshold(name, raw, has_answer, answered, probability)
        return found


def _row(question: Answered) -> tuple[float, float, float, float, float]:
    if question.text is None:
        raise DataError(f"question {question.name} has no prediction.")
    text = question.text
    golds = [gold for gold in question.golds if normalized_answer(gold)] or [""]
    return (
        float(normalized_answer(text) in {normalized_answer(gold) for gold in golds}),
        max(token_f1(text, gold, empty=True) for gold in golds),
        float(bool(question.golds)),
        float(bool(text)),
        question.no_answer_probability,
    )


def _means(scores: dict[str, NDArray[np.float64]], prefix: str) -> Result:
    total = len(scores["exact"])
    means = {f"{prefix}{name}": 100.0 * float(score.sum()) / total for name, score in scores.items()}
    return means | {f"{prefix}total": total}


def _best_threshold(
    name: str,
    score: NDArray[np.float64],
    has_answer: NDArray[np.float64],
    answered: NDArray[np.float64],
    probability: NDArray[np.float64],
) -> Result:
    """Return the best score and its threshold: answering the questions one after the other, surest first.

    As `find_best_thresh` in the official script: questions of the same probability go in the order they came.
    """
    import numpy as np

    order = np.argsort(probability, kind="stable")
    gains = np.where(has_answer == 1, score, -answered)[order]
    # Begin with no question answered: those that have no answer are right.
    reached = np.cumsum(np.concatenate([[np.sum(has_answer == 0)], gains]))
    best = int(np.argmax(reached))
    return {
        f"best_{name}": 100.0 * float(reached[best]) / len(score),
        f"best_{name}_thresh": float(probability[order[best - 1]]) if best else 0.0,
    }
