"""Trackers: one that is not installed is named; settings are flattened to what all of them take."""

from __future__ import annotations

import pytest

from llmkit.errors import UsageError
from llmkit.training.tracking import check_trackers, flat


def test_a_tracker_that_is_not_installed_is_named_with_the_remedy() -> None:
    check_trackers([])
    with pytest.raises(UsageError, match="trackers: no_such_tracker is not installed") as caught:
        check_trackers(["no_such_tracker"])
    assert caught.value.hint == "Install it: pip install no_such_tracker"


def test_settings_are_flattened() -> None:
    nested = {"a": {"b": 1, "c": {"d": [1, 2]}}, "e": None, "f": True}

    assert flat(nested) == {"a.b": 1, "a.c.d": "[1, 2]", "e": "None", "f": True}
