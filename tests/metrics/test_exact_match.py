"""Exact match against the documented examples and definition of evaluate 0.4.6's `exact_match`."""

import re
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.errors import UsageError
from llmkit.metrics import load_metric

texts = st.text(alphabet="aAbB.,1 the", max_size=4)


def reference(predictions, references, regexes, case, punctuation, numbers):
    """numpy's way, as the published script defines it."""
    predictions, references = np.asarray(predictions), np.asarray(references)
    for pattern in regexes:
        predictions = np.array([re.sub(pattern, "", each) for each in predictions])
        references = np.array([re.sub(pattern, "", each) for each in references])
    for wanted, change in (
        (case, np.char.lower),
        (punctuation, lambda each: np.char.translate(each, str.maketrans("", "", string.punctuation))),
        (numbers, lambda each: np.char.translate(each, str.maketrans("", "", string.digits))),
    ):
        if wanted:
            predictions, references = change(predictions), change(references)
    return np.mean(predictions == references)


def ours(predictions, references, **options):
    metric = load_metric("exact_match", **options)
    metric.update(predictions, references)
    return metric.compute()["exact_match"]


@given(
    st.lists(st.tuples(texts, texts), min_size=1),
    st.lists(st.sampled_from(["the ", "[ab]", r"\d"]), max_size=2),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_equals_the_definition(pairs, regexes, case, punctuation, numbers):
    # numpy's arrays of text drop zero bytes and no more; the alphabet has none.
    predictions, references = map(list, zip(*pairs, strict=True))
    found = ours(
        predictions,
        references,
        regexes_to_ignore=regexes,
        ignore_case=case,
        ignore_punctuation=punctuation,
        ignore_numbers=numbers,
    )
    assert found == pytest.approx(reference(predictions, references, regexes, case, punctuation, numbers))


def test_documented_example():
    references, predictions = (
        ["the cat", "theater", "YELLING", "agent007"],
        ["cat?", "theater", "yelling", "agent"],
    )
    assert ours(predictions, references) == 0.25
    options = {"regexes_to_ignore": ["the ", "yell", "YELL"], "ignore_case": True, "ignore_punctuation": True}
    assert ours(predictions, references, **options) == 0.75
    assert ours(predictions, references, ignore_numbers=True, **options) == 1.0


def test_bad_pattern():
    with pytest.raises(UsageError, match="no regular expression"):
        load_metric("exact_match", regexes_to_ignore=["("])
