"""SQuAD 1.1 scores against the definition of the official evaluation script, written out here.

https://rajpurkar.github.io/SQuAD-explorer/, evaluate-v1.1.py.
"""

import re
import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.errors import DataError
from llmkit.metrics import load_metric
from tests.metrics.examples import ANSWERS

words = st.lists(
    st.sampled_from(["the", "The", "a", "an", "cat", "Cat.", "sat!", "(", "über", "1976,", "-"]), max_size=5
)
texts = words.map(" ".join) | st.text(max_size=8)


def normalised(text):
    text = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def words_f1(prediction, gold):
    found, true = normalised(prediction).split(), normalised(gold).split()
    same = sum((Counter(found) & Counter(true)).values())
    if same == 0:
        return 0
    precision, recall = same / len(found), same / len(true)
    return 2 * precision * recall / (precision + recall)


def reference(examples):
    exact = sum(max(normalised(text) == normalised(gold) for gold in golds) for text, golds in examples)
    f1 = sum(max(words_f1(text, gold) for gold in golds) for text, golds in examples)
    return {"exact_match": 100 * exact / len(examples), "f1": 100 * f1 / len(examples)}


def ours(predictions, references):
    metric = load_metric("squad")
    metric.update(predictions, references)
    return metric.compute()


@given(st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=3)), min_size=1, max_size=6))
def test_equals_the_official_script(examples):
    found = ours([text for text, _ in examples], [golds for _, golds in examples])
    assert found == pytest.approx(reference(examples), rel=1e-14)


def test_articles_only_score_as_in_the_script():
    assert ours(["the"], [["a"]]) == {"exact_match": 100.0, "f1": 0.0}


@pytest.mark.parametrize(
    "references",
    [
        [{"text": ["x"], "answer_start": [3]}],
        ["x"],
        [["x"]],
        [[{"text": "x", "answer_start": 3}]],
        [{"answers": {"text": ["x"]}}],
    ],
)
def test_shapes_of_answers(references):
    assert ours(["x"], references) == {"exact_match": 100.0, "f1": 100.0}


def test_ids_say_what_belongs_together():
    predictions, references = ANSWERS
    assert ours(predictions[::-1], references) == ours(predictions, references)


def test_a_question_without_prediction_scores_zero():
    predictions, references = ANSWERS
    metric = load_metric("squad")
    metric.update(predictions[1:], references)
    assert metric.examples == 4
    assert metric.compute() == {"exact_match": 0.0, "f1": pytest.approx(100 * (2 / 3) / 4)}
    assert metric.notes() == ["1 questions have no prediction: they score 0."]


@pytest.mark.parametrize(
    ("predictions", "references", "said"),
    [
        (["x"], [[]], "no gold answer"),
        (["x"], [None], "answers of question 0"),
        ([3], [["x"]], "prediction for question 0"),
        ([{"id": "q", "prediction_text": "x"}], [["x"]], "others do not"),
    ],
)
def test_bad_examples(predictions, references, said):
    with pytest.raises(DataError, match=said):
        ours(predictions, references)
