"""Losses of the whole step, and losses that know the start, in two processes: the step and evaluation of one."""

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

from tests.fixtures.command import base_environment
from tests.training.first_steps import results_of
from tests.training.objectives.test_preference import NO_GPT_DROPOUT
from tests.training.objectives.test_preference import ROWS as PREFERENCES
from tests.training.objectives.test_sentence_embedding import KINDS
from tests.training.stepping import NO_DROPOUT, assert_same_step, write_rows

Tiny = Callable[[str], Path]
ROOT = Path(__file__).parents[2]
CASES = {**{f"sentence-embedding, {kind}": rows for kind, rows in KINDS.items()}, "preference": PREFERENCES}
SPLITS = {
    "whole": {},
    "accumulated": {"micro_batch_size": 1},
    "padded": {"batching": "padded", "micro_batch_size": 3},
}


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("configs")
    found = {}
    for case, rows in CASES.items():
        task = case.partition(",")[0]
        train = write_rows(folder / f"{case}.jsonl", rows)
        start, without = (
            ("text-generation", NO_GPT_DROPOUT)
            if task == "preference"
            else ("feature-extraction", {"config": NO_DROPOUT})
        )
        for split, settings in SPLITS.items():
            training = {"max_grad_norm": None, "precision": "float32", "batch_size": 64, **settings}
            found[f"{case}, {split}"] = {
                "task": task,
                "model": {"name": str(tiny(start)), **without},
                "data": {"train": train},
                "training": training,
                "output": str(folder / f"{case}, {split}"),
            }
    return found


@pytest.fixture(scope="module")
def of_two(configs: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what two processes found; one start for all cases."""
    folder = tmp_path_factory.mktemp("of two")
    for values in configs.values():  # each in a folder of its own, or the reference of one would be found
        values["output"] += " by two"
    (folder / "configs.json").write_text(json.dumps(configs))
    start = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = subprocess.run(
        [sys.executable, *start, "-m", "tests.training.first_steps", "configs.json", str(folder)],
        cwd=folder,
        env=base_environment() | {"LLMKIT_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def step_of(results: dict[str, torch.Tensor]) -> tuple[float, dict[str, torch.Tensor]]:
    gradients = {name: tensor for name, tensor in results.items() if not name.startswith("number ")}
    return float(results["number loss"]), gradients


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("case", CASES)
def test_two_processes(case: str, split: str, configs: dict[str, dict[str, Any]], of_two: Path) -> None:
    two = load_file(of_two / f"{case}, {split}.safetensors")
    values = configs[f"{case}, whole"]
    alone = results_of({**values, "output": values["output"].removesuffix(" by two")})
    assert_same_step(step_of(two), step_of(alone))
    figures = [name for name in alone if name.startswith("number eval")]
    assert len(figures) >= 3
    for name in figures:
        torch.testing.assert_close(two[name], alone[name], rtol=1e-4, atol=1e-5)
