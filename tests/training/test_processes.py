"""Several processes: the gradient, loss and evaluation of one, for every task and however a step is split."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from llmkit.training.objectives import OBJECTIVES
from tests.fixtures.command import base_environment
from tests.training.rows import TRIALS
from tests.training.splitting import results_of
from tests.training.stepping import assert_same_step

Tiny = Callable[[str], Path]
ROOT = Path(__file__).parents[2]

# How the step of all rows is cut up in each process.
SPLITS = {
    "padded": {"batching": "padded"},
    "padded, accumulated": {"batching": "padded", "micro_batch_size": 1},
    "sorted": {"batching": "sorted"},
    "sorted, accumulated": {"batching": "sorted", "micro_batch_size": 1},
    "packed": {"batching": "packed"},
    "packed, accumulated": {"batching": "packed", "micro_batch_size": 1},
}
# Fewer rows than devices in the step: one of them has nothing to do.
ALONE = "one row"
CASES = [
    (task, split)
    for task in OBJECTIVES
    for split in [*SPLITS, ALONE]
    if "packed" not in split or (task in TRIALS and TRIALS[task].packs)
]


def launch(
    folder: Path, processes: int, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a module in processes that torchrun starts."""
    start = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes))
    return subprocess.run(
        [sys.executable, *start, *arguments],
        cwd=folder,
        env=base_environment()
        | {"LLMKIT_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
        | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_every_task_is_tried() -> None:
    assert TRIALS.keys() == OBJECTIVES.keys(), "a new task needs rows in tests/training/rows.py"


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny) -> dict[str, dict[str, Any]]:
    """The configs of all cases, each with a step of all rows."""
    folder = tmp_path_factory.mktemp("configs")
    found = {}
    for number, (task, split) in enumerate(CASES):
        where = folder / str(number)
        where.mkdir()
        sections = TRIALS[task].sections(tiny, where)
        training = {"epochs": 1, "max_grad_norm": None, "precision": "float32", "batch_size": 64}
        if split == ALONE:
            training["batch_size"] = 1
        found[f"{task}, {split}"] = {
            "task": task,
            **sections,
            "training": training | SPLITS.get(split, {}),
            "output": str(where / "run"),
        }
    return found


@pytest.fixture(scope="module")
def of_two(configs: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what two processes found; one start for all cases."""
    folder = tmp_path_factory.mktemp("of two")
    (folder / "configs.json").write_text(json.dumps(configs))
    done = launch(folder, 2, "-m", "tests.training.splitting", "configs.json", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


def step_of(results: dict[str, torch.Tensor]) -> tuple[float, dict[str, torch.Tensor]]:
    gradients = {name: tensor for name, tensor in results.items() if not name.startswith("number.")}
    return float(results["number.loss"]), gradients


@pytest.mark.parametrize(("task", "split"), CASES)
def test_the_step_is_that_of_one_process(
    task: str, split: str, configs: dict[str, dict[str, Any]], of_two: Path
) -> None:
    whole = results_of(configs[f"{task}, {ALONE if split == ALONE else 'padded'}"])
    alone = results_of(configs[f"{task}, {split}"])
    two = load_file(of_two / f"{task}, {split}.safetensors")

    assert_same_step(step_of(alone), step_of(whole))
    assert_same_step(step_of(two), step_of(whole))


@pytest.mark.parametrize("task", OBJECTIVES)
def test_an_evaluation_takes_each_example_once(
    task: str, configs: dict[str, dict[str, Any]], of_two: Path
) -> None:
    alone = results_of(configs[f"{task}, sorted"])
    two = load_file(of_two / f"{task}, sorted.safetensors")

    assert two["number.examples"] % 2 == 1, "an odd number, so that the processes have not as many each"
    names = [name for name in alone if name.startswith("number.eval")]
    assert names
    for name in names:
        torch.testing.assert_close(two[name], alone[name], rtol=1e-5, atol=1e-6, equal_nan=True)


def test_one_that_fails_does_not_wait_for_those_that_wait_for_it(tmp_path: Path) -> None:
    done = launch(tmp_path, 2, "-m", "tests.training.disagreeing", LLMKIT_LOST_AFTER="2")

    assert done.returncode != 0
    assert done.stderr.count("error: the second machine has no such file.") == 1
