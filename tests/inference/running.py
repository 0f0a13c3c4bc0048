"""Rows for a task, a runner over windows of them, and what their results are held against."""

import random

import pytest

from llmkit.data.records import Record
from llmkit.inference.items import RunSettings
from llmkit.inference.runner import Runner
from llmkit.tasks.catalogue import find_task
from llmkit.tasks.inputs import FieldValues

DRAW = random.Random(3)
WORDS = [
    "angela",
    "merkel",
    "lives",
    "in",
    "berlin",
    "and",
    "paris",
    "is",
    "the",
    "capital",
    "of",
    "france",
    "this",
    "film",
    "was",
    "funny",
    "cold",
    "meal",
]
TEXTS = [" ".join(DRAW.choices(WORDS, k=DRAW.randint(1, 60))) for _ in range(24)] + ["a", "naïve 東京 🎉"]
GREEDY = {"do_sample": False, "max_new_tokens": 5}
ROWS = [{"text": text} for text in TEXTS]


def window(*rows):
    return [
        (Record(row, "rows", number), FieldValues(row))
        if isinstance(row, dict)
        else (Record({}, "rows", number), row)
        for number, row in enumerate(rows, 1)
    ]


def runner(pipe, *, settings=None, **hooks):
    return Runner(pipe, find_task(pipe.task), settings or RunSettings(), **hooks)


def run(pipe, rows, *, notes=lambda text: None, **settings):
    return runner(pipe, settings=RunSettings(**settings), notes=notes).run_window(window(*rows))


def results(outcomes):
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
    return [outcome.value for outcome in outcomes]


def assert_close(found, wanted, where=""):
    """The same values, types and shape; floats to 1e-5."""
    assert type(found) is type(wanted) or isinstance(wanted, float), (where, found, wanted)
    if isinstance(wanted, dict):
        assert list(found) == list(wanted), where
        for key in wanted:
            assert_close(found[key], wanted[key], f"{where}.{key}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), where
        for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
            assert_close(one, other, f"{where}[{number}]")
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, abs=1e-5), where
    else:
        assert found == wanted, where
