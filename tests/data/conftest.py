"""What the tests of the readers and the sources can ask for."""

import pytest


@pytest.fixture
def limit(monkeypatch):
    """Sets the limit on one row, in characters."""
    return lambda characters: monkeypatch.setenv("LLMKIT_MAX_ROW_CHARS", str(characters))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of the test's own, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
