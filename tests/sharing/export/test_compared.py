"""How far two forms of a model are apart."""

from __future__ import annotations

import pytest
import torch

from llmkit.errors import LlmkitError
from llmkit.sharing.export.compared import Example, compare

EXAMPLE = Example("a text", {"input_ids": torch.zeros(1, 3, dtype=torch.long)})


def given(*values: float) -> dict[str, torch.Tensor]:
    return {"logits": torch.tensor([values])}


def test_the_largest_difference_and_whether_the_answer_is_the_same():
    (near,) = compare([EXAMPLE], lambda _: given(1.0, -3.0), lambda _: given(1.25, -3.0))
    assert (near.tokens, near.largest, near.scale, near.same) == (3, 0.25, 3.0, True)
    (other,) = compare([EXAMPLE], lambda _: given(1.0, 1.1), lambda _: given(1.1, 1.0))
    assert not other.same


@pytest.mark.parametrize(
    "wrong", [{}, given(1.0), given(float("nan"), 0.0)], ids=["none", "shape", "no number"]
)
def test_what_is_no_answer_at_all(wrong):
    with pytest.raises(LlmkitError):
        compare([EXAMPLE], lambda _: given(1.0, 2.0), lambda _: wrong)
