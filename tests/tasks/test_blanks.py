"""The blank that fill-mask fills, however it is written."""

import pytest

from llmkit.tasks.blanks import check_mask, with_mask
from llmkit.tasks.inputs import RowError


@pytest.mark.parametrize("blank", ["[MASK]", "<mask>", "___", "________"])
@pytest.mark.parametrize("mask", ["[MASK]", "<mask>", r"\\1"])
def test_every_blank_becomes_the_tokenizers_own(blank, mask):
    assert with_mask(f"Paris is the {blank} of {blank}.", mask) == f"Paris is the {mask} of {mask}."


@pytest.mark.parametrize("text", ["Paris", "Paris __"])
def test_a_text_without_one(text):
    with pytest.raises(RowError, match="write ___ where the word is missing"):
        with_mask(text, "[MASK]")


def test_an_empty_text_is_told_as_every_empty_text_is():
    assert with_mask(" ", "[MASK]") == " "


def test_a_text_that_lost_it():
    check_mask("a [MASK]", "[MASK]")
    with pytest.raises(RowError, match="beyond what the model takes"):
        check_mask("a", "[MASK]")
