"""What `from llmkit import …` gives, and what it costs."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

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
    with pytest.raises(AttributeError, match=r"no attribute 'embedd': did you mean embed\?$"):
        llmkit.embedd  # noqa: B018
    with pytest.raises(AttributeError, match=r"no attribute 'xyzzy'$"):
        llmkit.xyzzy  # noqa: B018


@pytest.mark.parametrize(("said", "is_off"), [(None, True), ("0", False)])
def test_the_hubs_client_sends_no_telemetry_unless_the_user_wants_it(said, is_off):
    code = "from llmkit import embed; from huggingface_hub import constants; print(constants.HF_HUB_DISABLE_TELEMETRY)"
    environment = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    environment.pop("HF_HUB_OFFLINE", None)  # which turns it off too
    environment |= {} if said is None else {"HF_HUB_DISABLE_TELEMETRY": said}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(is_off)
