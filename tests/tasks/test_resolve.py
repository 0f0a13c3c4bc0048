"""Which model a task's call means."""

import pytest

from llmkit.errors import LlmkitError, UsageError
from llmkit.tasks.catalogue import find_task
from llmkit.tasks.resolve import resolve_for


def test_the_one_named(tiny):
    folder = str(tiny("fill-mask"))
    assert resolve_for(find_task("fill-mask"), folder, None).location == folder
    assert resolve_for(find_task("summarization"), "minilm", None).embedded


def test_a_default_stands_in_only_where_it_can_serve(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("feature-extraction", "sentence-similarity"):
        monkeypatch.setenv("LLMKIT_EMBEDDED", "always")
        assert resolve_for(find_task(name), None, None).embedded
    with pytest.raises(LlmkitError):
        resolve_for(find_task("summarization"), None, None)


@pytest.mark.parametrize("name", ["translation", "translation_fr_to_en"])
def test_a_pair_without_a_default(name):
    with pytest.raises(UsageError, match=rf"(?s){name}: no default model.*--model"):
        resolve_for(find_task(name), None, None)
