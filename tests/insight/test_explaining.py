"""Which steps there are, and what is said where they cannot be."""

from __future__ import annotations

import numpy
import pytest

from llmkit.errors import UsageError
from llmkit.insight.explaining import find_token
from llmkit.insight.prepared import Side
from tests.insight.family_models import FAMILIES
from tests.insight.reading import opened

TEXT = "The quick brown fox jumps over the lazy dog."


@pytest.fixture(scope="module")
def open_any(tiny, tmp_path_factory):
    made = {}

    def open_it(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("explained") / "model"
            made[name] = opened(str(FAMILIES[name][1](folder) if name in FAMILIES else tiny(name)))
        return made[name]

    return open_it


def test_the_steps_of_bert(open_any):
    found = open_any("feature-extraction").explain("A photo of a cat.", "cat", pair="A dog.")
    assert [step.name for step in found.steps] == [
        "token embedding", "segment embedding", "position embedding", "sum", "x = LayerNorm", "Q", "K", "V", "scores",
        "scaled", "+ mask", "softmax", "· V", "concatenated", "projected", "+ residual", "LayerNorm", "up",
        "activation", "down", "+ residual", "LayerNorm",
    ]  # fmt: skip
    by_name = {step.name: step for step in found.steps}
    tokens = len(found.queries)
    assert by_name["Q"].shape == (2, tokens, 16)
    assert by_name["scaled"].formula == "÷ √16"
    assert by_name["concatenated"].shape == (tokens, 32)
    assert sum(by_name["softmax"].values) == pytest.approx(1)


def test_the_steps_of_others(open_any):
    def names(name, **arguments):
        return [step.name for step in open_any(name).explain(TEXT, "#4", **arguments).steps]

    assert names("text-generation")[:4] == ["token embedding", "position embedding", "sum", "z = LayerNorm"]
    assert {"Q rotated", "K rotated", "gate"} <= set(names("decision"))
    assert {"Q RMSNorm", "K RMSNorm"} <= set(names("qwen3"))
    assert "+ position bias" in names("translation", kind="encoder")
    assert names("decision", layer=2)[0] == "x"
    shared = open_any("decision").explain(TEXT, "#4").steps
    assert any("a head for 2 of Q" in step.formula for step in shared)
    (mask,) = (step for step in shared if step.name == "+ mask")
    assert [value == -numpy.inf for value in mask.values] == [place > 3 for place in range(len(mask.values))]


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        (
            "feature-extraction",
            {"token": "zebra"},
            "--explain zebra: no such token is there.\nThere are: #1 [CLS]",
        ),
        ("feature-extraction", {"token": "#99"}, "--explain #99"),
        ("feature-extraction", {"token": "#1", "layer": 3}, "--layer 3"),
        ("feature-extraction", {"token": "#1", "head": 5}, "--head 5"),
        ("feature-extraction", {"token": "#1", "kind": "cross"}, "has only encoder attention"),
        ("text-generation", {"token": "#1", "kind": "encoder"}, "has only decoder attention"),
    ],
)
def test_what_is_not_there(name, arguments, said, open_any):
    with pytest.raises(UsageError) as error:
        open_any(name).explain(TEXT, **arguments)
    assert said in str(error.value)


def test_a_token_is_found_by_how_it_is_written():
    side = Side(
        ["[CLS]", "Ġcat", "##bly", "Cat", "▁dog"], ["[CLS]", "␣cat", "##bly", "Cat", "▁dog"], [1, 2, 3, 4, 5]
    )
    assert [find_token(each, side) for each in ("[CLS]", "Ġcat", "␣cat", "cat", "bly", "dog", "DOG", "Cat", "#3")] == [
        0, 1, 1, 1, 2, 4, 4, 3, 2,
    ]  # fmt: skip
