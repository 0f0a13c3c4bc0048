"""zero-shot-classification by the embedded encoder: the cosines of sentence vectors, and results of the usual shape."""

from __future__ import annotations

import math

import pytest

from llmkit import embed, pipeline
from llmkit.tasks.zero_shot_similarity import SCALE, TEMPLATES

TEXTS = [
    "The central bank raised rates by a quarter of a point.",
    "The striker scored twice in the last minute.",
]
LABELS = ["sports", "economy", "cooking"]


@pytest.fixture(scope="module")
def classify():
    return pipeline("zero-shot-classification", "minilm", device="cpu")


def nearness(text, label, templates=TEMPLATES):
    """The cosine of a text's vector, from `embed`, with the mean of those of a label's hypotheses."""
    first, *others = embed(
        [text, *(template.format(label) for template in templates)], "minilm", device="cpu"
    )
    mean = sum(others) / len(others)
    return float(first @ mean) / math.hypot(*mean)


def expected(text, labels, templates=TEMPLATES):
    """The softmax of the scaled cosines."""
    weights = [math.exp(SCALE * nearness(text, label, templates)) for label in labels]
    return {label: weight / sum(weights) for label, weight in zip(labels, weights, strict=True)}


def test_scores_are_those_of_the_sentence_vectors(classify):
    for text in TEXTS:
        found = classify(text, candidate_labels=LABELS)
        assert list(found) == ["sequence", "labels", "scores"]
        assert found["sequence"] == text
        scores = dict(zip(found["labels"], found["scores"], strict=True))
        assert scores == pytest.approx(expected(text, LABELS), abs=1e-5)
        assert found["scores"] == sorted(found["scores"], reverse=True)
    assert [classify(text, candidate_labels=LABELS)["labels"][0] for text in TEXTS] == ["economy", "sports"]


def test_a_template_of_ones_own(classify):
    found = classify(TEXTS[0], candidate_labels=LABELS, hypothesis_template="It is {}.")
    scores = dict(zip(found["labels"], found["scores"], strict=True))
    assert scores == pytest.approx(expected(TEXTS[0], LABELS, ["It is {}."]), abs=1e-5)


def test_a_slash_parts_what_a_label_may_mean(classify):
    found = classify(TEXTS[0], candidate_labels=["sport/economy", "cooking"])
    assert found["labels"][0] == "sport/economy"
    odds = math.exp(SCALE * (nearness(TEXTS[0], "economy") - nearness(TEXTS[0], "cooking")))
    assert found["scores"][0] == pytest.approx(odds / (1 + odds), abs=1e-5)


@pytest.mark.parametrize("label", ["24/7", "/economy", "a /"])
def test_a_slash_beside_which_there_is_no_word_is_a_sign_as_any_other(classify, label):
    found = classify(TEXTS[0], candidate_labels=[label, "cooking"])
    scores = dict(zip(found["labels"], found["scores"], strict=True))
    assert scores == pytest.approx(expected(TEXTS[0], [label, "cooking"]), abs=1e-5)


def test_several_labels_stand_each_for_itself(classify):
    alone = classify(TEXTS[0], candidate_labels=["economy"])
    several = classify(TEXTS[0], candidate_labels=LABELS, multi_label=True)
    scores = dict(zip(several["labels"], several["scores"], strict=True))
    assert scores["economy"] == pytest.approx(alone["scores"][0], abs=1e-6)
    assert scores["economy"] > 0.5 > scores["cooking"]


def test_by_the_command_in_batches(llmkit, classify):
    done = llmkit(
        *(
            "pipeline",
            "zero-shot-classification",
            *TEXTS,
            *TEXTS,
            "-m",
            "minilm",
            "--labels",
            ",".join(LABELS),
        ),
        *("--batch-size", "3"),
    )
    assert done.code == 0, done.stderr
    assert [line["labels"] for line in done.lines[:2]] == [
        classify(text, candidate_labels=LABELS)["labels"] for text in TEXTS
    ]
    for line, text in zip(done.lines, TEXTS * 2, strict=True):
        assert line["scores"] == pytest.approx(classify(text, candidate_labels=LABELS)["scores"], abs=1e-4)


def test_a_template_without_a_place_is_refused(classify):
    with pytest.raises(ValueError, match="hypothesis_template"):
        classify(TEXTS[0], candidate_labels=LABELS, hypothesis_template="It is so.")


def test_labels_without_end_take_no_memory_without_end(classify, monkeypatch):
    first = classify(TEXTS[0], LABELS)
    monkeypatch.setattr("llmkit.tasks.zero_shot_similarity._MOST_KEPT", 20_000)
    for number in range(20):
        classify(TEXTS[0], [f"label {number}", "economy"])
    assert len(classify._vectors) < 20
    again = classify(TEXTS[0], LABELS)
    assert again["labels"] == first["labels"]
    assert again["scores"] == pytest.approx(first["scores"], abs=1e-6)
