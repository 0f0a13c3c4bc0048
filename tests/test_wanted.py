"""What a value should be is said in one way, whichever library found out."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from llmkit.errors import UsageError
from llmkit.wanted import at_least, should_be, wanted_by


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (int, "x", "a whole number"),
        (int, 1.5, "a whole number"),
        (float, "x", "a number"),
        (str, 3, "a text"),
        (bool, "x", "true or false"),
        (list, 3, "a list"),
        (dict, 3, "keys with values"),
        (Annotated[int, Field(ge=1)], 0, "1 or more"),
        (Annotated[float, Field(gt=0)], 0, "above 0"),
        (Annotated[float, Field(le=1)], 2, "1 or less"),
        (Annotated[float, Field(lt=1)], 1, "below 1"),
    ],
)
def test_what_pydantic_wants(kind: type, value: object, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    assert wanted_by(caught.value.errors()[0]["msg"]) == said


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Invalid value for '--dim': 'x' is not a valid integer.", "a whole number"),
        ("Invalid value for '--timeout': 'x' is not a valid float.", "a number"),
        ("Invalid value for '--seed': 'x is not y' is not a valid integer.", "a whole number"),
        ("No such option: --nope", None),
    ],
)
def test_what_click_wants(message: str, said: str | None) -> None:
    assert wanted_by(message) == said


def test_a_number_that_is_too_small_is_named_with_where_it_was_given() -> None:
    assert at_least(1, None, "--dim") is None
    assert at_least(1, 1, "--dim") == 1
    with pytest.raises(UsageError, match=r"^--dim 0: it should be 1 or more\.$"):
        at_least(1, 0, "--dim")
    assert str(should_be("--mfu x", "a number", hint="Write it as 0.4.")) == (
        "--mfu x: it should be a number.\nWrite it as 0.4."
    )
