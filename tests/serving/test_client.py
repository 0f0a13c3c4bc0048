"""Which calls go to a warm worker, by what they and the environment say."""

from __future__ import annotations

import pytest

from llmkit.errors import UsageError
from llmkit.serving.client import check_setting, wants_warm
from tests.fixtures.command import Command

CALL = ["pipeline", "text-classification", "x"]


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [("1", True), ("TRUE", True), ("on", True), ("", False), ("0", False), ("No", False), ("maybe", False)],
)
def test_the_setting(setting: str, wanted: bool) -> None:
    assert wants_warm(CALL, {"LLMKIT_WARM": setting}) is wanted
    assert wants_warm([*CALL, "--warm"], {"LLMKIT_WARM": setting})
    assert not wants_warm([*CALL, "--no-warm"], {"LLMKIT_WARM": setting})


def test_what_is_neither_yes_nor_no(llmkit: Command) -> None:
    with pytest.raises(UsageError, match="LLMKIT_WARM is 'maybe'"):
        check_setting({"LLMKIT_WARM": "maybe"})
    done = llmkit(*CALL, env={"LLMKIT_WARM": "maybe"})
    assert (done.code, done.text) == (2, "")
    assert "LLMKIT_WARM is 'maybe'" in done.stderr
