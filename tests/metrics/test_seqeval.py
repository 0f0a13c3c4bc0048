"""Entity scores against seqeval 1.2.2."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval import scheme as seqeval_schemes
from seqeval.metrics import accuracy_score, classification_report

from llmkit.errors import DataError, UsageError
from llmkit.metrics import load_metric
from llmkit.metrics.entities import lenient_entities
from llmkit.metrics.entity_schemes import SCHEMES, strict_entities

LETTERS = {name: scheme.letters.replace("O", "") for name, scheme in SCHEMES.items()} | {None: "BIES"}


def tags_of(letters, suffix=False):
    kinds = ["PER", "LOC", "A-B"]
    made = [f"{kind}-{letter}" if suffix else f"{letter}-{kind}" for letter in letters for kind in kinds]
    return st.sampled_from(["O", "O", *made, *letters])


def sequences(letters, suffix=False):
    tag = tags_of(letters, suffix)
    example = st.lists(st.tuples(tag, tag), min_size=1, max_size=8)
    return st.lists(example, min_size=1, max_size=5)


def taken_apart(examples):
    return [[p for p, _ in each] for each in examples], [[r for _, r in each] for each in examples]


def reference(predictions, references, **options):
    """What evaluate's `seqeval` makes of the report."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = classification_report(references, predictions, output_dict=True, zero_division=0, **options)
    overall = report.pop("micro avg")
    del report["macro avg"], report["weighted avg"]
    found = {
        kind: {
            "precision": scores["precision"],
            "recall": scores["recall"],
            "f1": scores["f1-score"],
            "number": scores["support"],
        }
        for kind, scores in report.items()
    }
    found["overall_precision"], found["overall_recall"] = overall["precision"], overall["recall"]
    found["overall_f1"] = overall["f1-score"]
    found["overall_accuracy"] = accuracy_score(references, predictions)
    return found


def has_entities(predictions, references, find):
    """seqeval's report fails where there are none at all."""
    return any(find(tags) for tags in (*predictions, *references))


def ours(predictions, references, **options):
    metric = load_metric("seqeval", **options)
    metric.update(predictions, references)
    return metric.evaluate_result()


@pytest.mark.parametrize("suffix", [False, True])
@given(data=st.data())
@settings(max_examples=300)
def test_default_mode(suffix, data):
    predictions, references = taken_apart(data.draw(sequences(LETTERS[None], suffix)))
    if has_entities(predictions, references, lambda tags: lenient_entities(tags, suffix=suffix)):
        assert ours(predictions, references, suffix=suffix) == reference(
            predictions, references, suffix=suffix
        )


@pytest.mark.parametrize("scheme", SCHEMES)
@given(data=st.data())
@settings(max_examples=200)
def test_strict_mode(scheme, data):
    predictions, references = taken_apart(data.draw(sequences(LETTERS[scheme])))
    if has_entities(predictions, references, lambda tags: strict_entities(tags, scheme)):
        theirs = reference(predictions, references, mode="strict", scheme=getattr(seqeval_schemes, scheme))
        assert ours(predictions, references, mode="strict", scheme=scheme) == theirs


def test_iob1_in_the_default_mode():
    assert lenient_entities(["I-PER", "I-PER", "B-PER", "O", "I-LOC"]) == {
        ("PER", 0, 1),
        ("PER", 2, 2),
        ("LOC", 4, 4),
    }


def test_no_entities_score_zero():
    assert ours([["O", "O"]], [["O", "O"]]) == {
        "overall_precision": 0.0,
        "overall_recall": 0.0,
        "overall_f1": 0.0,
        "overall_accuracy": 1.0,
    }


def test_a_type_unseen_in_references():
    found = ours([["B-X", "B-PER"]], [["O", "B-PER"]])
    assert found["X"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "number": 0}
    assert found["overall_precision"] == 0.5


@pytest.mark.parametrize(
    ("predictions", "references", "said"),
    [
        ([["O"]], [["O", "O"]], "1 predicted tags for 2 tokens"),
        ([["O", ""]], [["O", "O"]], "sequence of tags"),
        ([[0, 1]], [["O", "O"]], "sequence of tags"),
        (["OO"], [["O", "O"]], "sequence of tags"),
    ],
)
def test_bad_tags(predictions, references, said):
    with pytest.raises(DataError, match=said):
        ours(predictions, references)


def test_a_letter_that_the_scheme_does_not_have():
    with pytest.raises(DataError, match="'E-PER' is not one of IOB2"):
        ours([["E-PER"]], [["O"]], mode="strict", scheme="IOB2")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "strict"}, "needs a scheme"),
        ({"mode": "strict", "scheme": "IOB3"}, "did you mean"),
        ({"mode": "lax"}, "no such mode: 'lax'"),
    ],
)
def test_bad_options(options, said):
    with pytest.raises(UsageError, match=said):
        load_metric("seqeval", **options)
