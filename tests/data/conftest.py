"""What the tests of the readers can ask for."""

import pytest


@pytest.fixture
def limit(monkeypatch):
    """Sets the limit on one row, in characters."""
    return lambda characters: monkeypatch.setenv("LLMKIT_MAX_ROW_CHARS", str(characters))
