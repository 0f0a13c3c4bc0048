"""F1, precision and recall against scikit-learn 1.9.1."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from llmkit.errors import DataError, UsageError
from llmkit.metrics import load_metric

REFERENCES = {"f1": sklearn.f1_score, "precision": sklearn.precision_score, "recall": sklearn.recall_score}
each_score = pytest.mark.parametrize("name", REFERENCES)
each_mean = pytest.mark.parametrize("average", ["macro", "micro", "weighted"])


def ours(name, pairs, **options):
    metric = load_metric(name, **options)
    metric.update([p for p, _ in pairs], [r for _, r in pairs])
    return metric.compute()[name]


def theirs(name, pairs, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return REFERENCES[name]([r for _, r in pairs], [p for p, _ in pairs], zero_division=0, **options)


def pairs_of(labels):
    return st.lists(st.tuples(labels, labels), min_size=1, max_size=40)


@each_score
@each_mean
@given(pairs=pairs_of(st.integers(-2, 5)) | pairs_of(st.sampled_from("abc")))
def test_classes(name, average, pairs):
    assert ours(name, pairs, average=average) == pytest.approx(
        theirs(name, pairs, average=average), abs=1e-14
    )


@each_score
@given(pairs=pairs_of(st.integers(0, 1)), positive=st.integers(0, 1))
def test_binary(name, pairs, positive):
    assert ours(name, pairs, pos_label=positive) == theirs(name, pairs, pos_label=positive)


@each_score
@each_mean
@given(
    pairs=pairs_of(st.integers(0, 4)), labels=st.lists(st.integers(0, 6), min_size=1, max_size=5, unique=True)
)
def test_chosen_labels(name, average, pairs, labels):
    expected = theirs(name, pairs, average=average, labels=labels)
    assert ours(name, pairs, average=average, labels=labels) == pytest.approx(expected, abs=1e-14)


@each_score
@each_mean
@given(
    rows=st.integers(1, 5).flatmap(
        lambda width: pairs_of(st.lists(st.integers(0, 1), min_size=width, max_size=width))
    )
)
def test_multilabel(name, average, rows):
    if len(rows[0][0]) == 1:
        # scikit-learn takes one column for classes.
        return
    assert ours(name, rows, average=average) == pytest.approx(theirs(name, rows, average=average), abs=1e-14)


@given(pairs=pairs_of(st.integers(0, 3)))
def test_each_class(pairs):
    metric = load_metric("f1_macro")
    metric.update([p for p, _ in pairs], [r for _, r in pairs])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        columns = sklearn.precision_recall_fscore_support(
            [r for _, r in pairs], [p for p, _ in pairs], zero_division=0
        )
    found = [list(scores.values()) for scores in metric.details()["classes"].values()]
    assert found == [pytest.approx(row) for row in zip(*columns, strict=True)]


@pytest.mark.parametrize("name", ["f1_macro", "precision_micro", "recall_weighted"])
def test_rows_of_the_table_name_their_average(name):
    score, _, average = name.partition("_")
    pairs = [(0, 0), (1, 2), (2, 2), (1, 1)]
    assert ours(name, pairs) == theirs(score, pairs, average=average)


def test_nothing_right_is_zero():
    for name in REFERENCES:
        assert ours(name, [(0, 0), (0, 0)]) == 0
        assert ours(name, [(1, 0), (1, 0)]) == 0


def test_binary_needs_two_classes():
    metric = load_metric("f1")
    metric.update([0, 1], [1, 1])
    with pytest.raises(UsageError, match=r"binary.*two classes.*\[0, 1, 2\]"):
        metric.update([2], [1])


def test_binary_needs_its_class():
    with pytest.raises(UsageError, match=r"class 1 does not occur.*'no', 'yes'"):
        ours("f1", [("yes", "no")])
    assert ours("f1", [("yes", "no"), ("yes", "yes")], pos_label="yes") == pytest.approx(2 / 3)


def test_binary_is_not_for_rows():
    with pytest.raises(UsageError, match="not for rows"):
        ours("f1", [([0, 1], [1, 1])])


def test_mistyped_average():
    with pytest.raises(UsageError, match="did you mean macro"):
        load_metric("f1", average="marco")


@pytest.mark.parametrize(
    "bad",
    [float("nan"), 0.5, None, float("inf"), {}, object()],
    ids=["nan", "half", "none", "inf", "map", "object"],
)
def test_not_a_class(bad):
    with pytest.raises(DataError, match="a class among the predictions"):
        ours("f1", [(1, 1), (bad, 1)])


@pytest.mark.parametrize(
    "rows", [[([0, 2], [0, 1])], [([0, 1], [0])], [([0, 1], [0, 1]), (1, 0)], [([], [])]], ids=str
)
def test_bad_rows(rows):
    with pytest.raises(DataError, match="row"):
        ours("f1", rows, average="macro")


def test_rows_and_classes_over_devices():
    rows, classes = load_metric("f1_macro"), load_metric("f1_macro")
    rows.update([[0, 1]], [[1, 1]])
    classes.update([0], [1])
    with pytest.raises(DataError, match="some examples are one class"):
        rows.merge(classes.state())


def test_names_and_numbers_never_agree():
    with pytest.raises(DataError, match="numbers and some are names"):
        ours("f1", [("1", 1)], average="macro")


def test_true_and_one_are_one_class():
    assert ours("f1", [(True, 1), (1.0, 1), (0, False)]) == 1


def test_what_is_refused_leaves_the_totals_as_they_were():
    metric = load_metric("f1_macro")
    metric.update([0, 1], [0, 1])
    of_rows = load_metric("f1_macro")
    of_rows.update([[1, 0]], [[1, 0]])
    for refused in (lambda: metric.update([[1, 0]], [[1, 0]]), lambda: metric.merge(of_rows.state())):
        with pytest.raises(DataError, match="some examples are one class"):
            refused()
    metric.update([1], [0])
    assert metric.examples == 3
    assert metric.compute()["f1_macro"] == ours("f1", [(0, 0), (1, 1), (1, 0)], average="macro")
