"""Resumed is uninterrupted, by the hash of all weights: every task, one process and two, all weights and LoRA."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmkit.training.objectives import OBJECTIVES
from tests.fixtures.command import Command, Completed
from tests.launching.running import Tiny
from tests.launching.test_agent import free_port, weights
from tests.training.rows import TRIALS

LORA = {"adapter": {"type": "lora", "dropout": 0.1}}


@pytest.fixture(scope="module")
def two() -> Iterator[list[Command]]:
    """The command, twice: one for each process of a run."""
    with ExitStack() as held:
        yield [held.enter_context(Command()) for _ in range(2)]


def finetune(processes: list[Command], folder: Path, *arguments: str) -> Completed:
    """Train in as many processes, as who starts one a device does; return how the first ended."""
    call = ("finetune", "run.yaml", "--device", "cpu", *arguments)
    environment = {"LLMKIT_CACHE": str(folder / "cache")}
    if len(processes) == 1:
        return processes[0](*call, cwd=folder, env=environment)
    met = {"WORLD_SIZE": str(len(processes)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    numbers = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(len(processes))]
    with ThreadPoolExecutor(len(processes)) as pool:
        ends = pool.map(
            lambda command, number: command(*call, cwd=folder, env=environment | met | number),
            processes,
            numbers,
        )
        first, *others = list(ends)
    assert [other.code for other in others] == [first.code] * len(others), others
    return first


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("kind", ["all", "lora"])
@pytest.mark.parametrize("task", OBJECTIVES)
def test_resumed_is_uninterrupted(
    task: str, kind: str, count: int, two: list[Command], tiny: Tiny, tmp_path: Path
) -> None:
    write_config(tmp_path, tiny, task, LORA if kind == "lora" else {})
    done = finetune(two[:count], tmp_path)
    assert done.code == 0, done.stderr
    shutil.copytree(tmp_path / "out", tmp_path / "whole")
    shutil.rmtree(tmp_path / "out/checkpoints/step-00000006")  # as if killed before it was written
    (tmp_path / "out/model.safetensors").unlink()

    done = finetune(two[:count], tmp_path, "--resume")

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
