"""What a model is shown for."""

from __future__ import annotations

import json
import shutil

import pytest

from llmkit.errors import UsageError
from llmkit.models.resolving import resolve_model
from llmkit.sharing.model_task import task_of_model

SAID = {
    "text-classification": "text-classification",
    "token-classification": "token-classification",
    "question-answering": "question-answering",
    "fill-mask": "fill-mask",
    "text2text-generation": "text2text-generation",
    "image-classification": "image-classification",
    "sentence-similarity": "sentence-similarity",
}


@pytest.mark.parametrize("built", SAID)
def test_the_head_tells(built, tiny):
    assert task_of_model(resolve_model(str(tiny(built))), {}) == SAID[built]


def test_the_card_is_believed_first_and_only_a_task_that_there_is(tiny):
    model = resolve_model(str(tiny("text-classification")))
    assert task_of_model(model, {"pipeline_tag": "zero-shot-classification"}) == "zero-shot-classification"
    assert task_of_model(model, {"pipeline_tag": "robotics"}) == "text-classification"
    assert task_of_model(model, {"pipeline_tag": ["a"]}) == "text-classification"


def test_a_model_with_a_template_chats(tiny, tmp_path):
    folder = shutil.copytree(tiny("text-generation"), tmp_path / "model")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": None}))
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    model = resolve_model(str(folder))
    assert task_of_model(model, {}) == "text-generation"
    assert (
        task_of_model(model, {"pipeline_tag": "text-generation", "tags": ["conversational"]})
        == "conversational"
    )
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert task_of_model(model, {}) == "conversational"


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("minilm", "sentence-similarity"),
        ("minilm:sentiment", "text-classification"),
        ("minilm:token-classification", "token-classification"),
    ],
)
def test_what_comes_with_llmkit(name, task):
    assert task_of_model(resolve_model(name), {}) == task


def test_a_model_that_does_not_say(tiny, tmp_path):
    folder = shutil.copytree(tiny("text-classification"), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    del config["architectures"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="does not say what it is for"):
        task_of_model(resolve_model(str(folder)), {})
