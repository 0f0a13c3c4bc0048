"""SQuAD 2.0 scores against the definition of the official evaluation script, written out here.

https://rajpurkar.github.io/SQuAD-explorer/, evaluate-v2.0.py, with the keys of evaluate's `squad_v2`.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.errors import DataError
from llmkit.metrics import load_metric
from tests.metrics.test_squad import normalised, texts, words_f1


def raw_scores(text, golds):
    golds = [gold for gold in golds if normalised(gold)] or [""]

    def f1(gold):
        if not normalised(gold) or not normalised(text):
            return int(normalised(gold) == normalised(text))
        return words_f1(text, gold)

    return max(int(normalised(text) == normalised(gold)) for gold in golds), max(map(f1, golds))


def best_threshold(examples, scores):
    """Begin by answering nothing; answer the surest question next, and remember the best point on the way."""
    current = best = sum(not golds for _, golds, _ in examples)
    threshold = 0.0
    for place in sorted(range(len(examples)), key=lambda place: examples[place][2]):
        text, golds, probability = examples[place]
        current += scores[place] if golds else -1 if text else 0
        if current > best:
            best, threshold = current, probability
    return 100 * best / len(examples), threshold


def reference(examples, limit):
    raw = [raw_scores(text, golds) for text, golds, _ in examples]
    found = {}
    used = [
        (int(not golds),) * 2 if probability > limit else scores
        for scores, (_, golds, probability) in zip(raw, examples, strict=True)
    ]
    parts = {"": used}
    parts["HasAns_"] = [scores for scores, each in zip(used, examples, strict=True) if each[1]]
    parts["NoAns_"] = [scores for scores, each in zip(used, examples, strict=True) if not each[1]]
    for prefix, scores in parts.items():
        if scores:
            found[f"{prefix}exact"], found[f"{prefix}f1"] = (
                100 * sum(column) / len(scores) for column in zip(*scores, strict=True)
            )
            found[f"{prefix}total"] = len(scores)
    for name, column in zip(("exact", "f1"), zip(*raw, strict=True), strict=True):
        found[f"best_{name}"], found[f"best_{name}_thresh"] = best_threshold(examples, column)
    return found


def ours(examples, **options):
    metric = load_metric("squad_v2", **options)
    metric.update(
        [
            {"id": str(i), "prediction_text": text, "no_answer_probability": probability}
            for i, (text, _, probability) in enumerate(examples)
        ],
        [{"id": str(i), "answers": {"text": golds}} for i, (_, golds, _) in enumerate(examples)],
    )
    return metric.compute()


@given(
    st.lists(
        st.tuples(texts, st.lists(texts, max_size=2), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from([1.0, 0.5]),
)
def test_equals_the_official_script(examples, limit):
    found, expected = ours(examples, no_answer_threshold=limit), reference(examples, limit)
    assert list(found) == list(expected)
    assert found == pytest.approx(expected, rel=1e-12)


def test_without_probabilities_there_are_no_thresholds():
    metric = load_metric("squad_v2")
    metric.update(["", "cat"], [[], ["the cat"]])
    assert metric.compute() == {
        "exact": 100.0,
        "f1": 100.0,
        "total": 2,
        "HasAns_exact": 100.0,
        "HasAns_f1": 100.0,
        "HasAns_total": 1,
        "NoAns_exact": 100.0,
        "NoAns_f1": 100.0,
        "NoAns_total": 1,
    }


def test_a_question_without_prediction():
    with pytest.raises(DataError, match="question b has no prediction"):
        load_metric("squad_v2").update(
            [{"id": "a", "prediction_text": "x"}],
            [{"id": "a", "answers": {"text": []}}, {"id": "b", "answers": {"text": []}}],
        )
