"""Resumed is uninterrupted, by the hash of all weights: every task, one process and two, all weights and LoRA."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmkit.training.objectives import OBJECTIVES
from tests.fixtures.command import Command
from tests.launching.running import Tiny
from tests.launching.test_agent import weights
from tests.training.rows import TRIALS

LORA = {"adapter": {"type": "lora", "dropout": 0.1}}


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("kind", ["all", "lora"])
@pytest.mark.parametrize("task", OBJECTIVES)
def test_resumed_is_uninterrupted(
    task: str, kind: str, count: int, llmkit: Command, tiny: Tiny, tmp_path: Path
) -> None:
    write_config(tmp_path, tiny, task, LORA if kind == "lora" else {})
    call = ("finetune", "run.yaml", "--device", "cpu")
    more: Any = {"processes": count, "cwd": tmp_path, "env": {"LLMKIT_CACHE": str(tmp_path / "cache")}}
    done = llmkit(*call, **more)
    assert done.code == 0, done.stderr
    shutil.copytree(tmp_path / "out", tmp_path / "whole")
    shutil.rmtree(tmp_path / "out/checkpoints/step-00000006")  # as if killed before it was written
    (tmp_path / "out/model.safetensors").unlink()

    done = llmkit(*call, "--resume", **more)

    assert done.code == 0, done.stderr
    assert "going on after step 4." in done.stderr
    assert weights(tmp_path) == weights(tmp_path, "whole")


def write_config(folder: Path, tiny: Tiny, task: str, more: dict[str, Any]) -> None:
    """A run of six steps with dropout."""
    sections = TRIALS[task].sections(tiny, folder)
    sections["model"].pop("config", None)
    training = {"epochs": 2, "batch_size": 3, "learning_rate": 1e-3, "precision": "float32", "save_steps": 2}
    config = {"task": task, **sections, **more, "training": training, "output": "out"}
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
