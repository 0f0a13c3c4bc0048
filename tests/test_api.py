"""What `from llmkit import …` gives, and what it costs."""

from __future__ import annotations

import importlib

import pytest

import llmkit


@pytest.mark.parametrize("name", [name for name in llmkit.__all__ if not name.startswith("_")])
def test_every_name_is_a_function_with_a_docstring(name):
    function = getattr(llmkit, name)
    assert callable(function)
    assert function.__doc__
    assert getattr(importlib.import_module(function.__module__), name) is function
    assert name in dir(llmkit)


def test_another_name():
    with pytest.raises(AttributeError, match="no attribute 'embedd'"):
        llmkit.embedd  # noqa: B018
