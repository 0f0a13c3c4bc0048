"""A model that two processes share by DeepSpeed: trained as one does it, and gone on with by any number."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from tests.fixtures.command import Command, base_environment
from tests.launching.running import ROOT, TWO, Launched, Tiny
from tests.training.test_sharding import assert_same, write_config

BUILD = """
from llmkit.training.zero import find_builders

find_builders()
from deepspeed.ops.op_builder.cpu import ShareMemCommBuilder

ShareMemCommBuilder().load()
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("built"),
    pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed"),
]
SHARED = ("finetune", "run.yaml", *TWO)


@pytest.fixture(scope="module")
def built() -> None:
    """Let DeepSpeed build its part for CPUs, once a machine: minutes on a busy one, which no run is given."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD],
        env=base_environment() | {"DS_ACCELERATOR": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def write_runs(folder: Path, tiny: Tiny, task: str, zero: dict[str, Any], **sections: Any) -> None:
    (folder / "zero.json").write_text(json.dumps({"zero_optimization": zero}))
    write_config(folder, tiny, task, sharding={"type": "deepspeed", "config": "zero.json"}, **sections)


@pytest.mark.parametrize(
    ("task", "zero"),
    [
        ("causal-lm", {"stage": 1}),
        ("masked-lm", {"stage": 2}),
        ("causal-lm", {"stage": 3}),
        ("text-classification", {"stage": 3, "stage3_param_persistence_threshold": 0}),
        ("causal-lm", {"stage": 2, "offload_optimizer": {"device": "cpu"}}),
    ],
    ids=["1", "2", "3", "3-nothing-kept-whole", "2-offloaded"],
)
def test_trained_as_one_process_does_and_gone_on_with_by_any_number(
    task: str, zero: dict[str, Any], llmkit: Command, tiny: Tiny, tmp_path: Path
) -> None:
    write_runs(tmp_path, tiny, task, zero)
    environment = {"LLMKIT_CACHE": str(tmp_path / "cache")}
    alone = ("finetune", "run.yaml", "--device", "cpu", "--set")
    done = llmkit(*alone, "output=whole", cwd=tmp_path, env=environment)
    assert done.code == 0, done.stderr

    code, output, errors = Launched(tmp_path, *SHARED).wait()

    assert (code, len(output.splitlines())) == (0, 1), errors
    assert_same(tmp_path, "out")
    for path in (tmp_path / "out/checkpoints").rglob("*"):
        assert path.suffix in ("", ".safetensors", ".json"), "nothing is pickled"

    shutil.rmtree(tmp_path / "out/checkpoints/step-00000006")  # as if killed before it was written
    shutil.copytree(tmp_path / "out", tmp_path / "one")
    shutil.copytree(tmp_path / "whole", tmp_path / "two")
    shutil.rmtree(tmp_path / "two/checkpoints/step-00000006")
    before = (tmp_path / "out/model.safetensors").read_bytes()

    code, _, errors = Launched(tmp_path, *SHARED, "--resume").wait()
    assert code == 0, errors
    assert "going on after step 4." in errors
    assert (tmp_path / "out/model.safetensors").read_bytes() == before, "resumed is uninterrupted"

    code, _, errors = Launched(tmp_path, *SHARED, "--resume", "--set", "output=two").wait()
    assert code == 0, errors
    assert_same(tmp_path, "two")

    done = llmkit(*alone, "output=one", "--resume", cwd=tmp_path, env=environment)
    assert done.code == 0, done.stderr
    assert "resumed on 1 devices, begun on 2" in done.stderr
    assert_same(tmp_path, "one")


def test_an_adapter_over_it(llmkit: Command, tiny: Tiny, tmp_path: Path) -> None:
    write_runs(tmp_path, tiny, "causal-lm", {"stage": 3}, adapter={"type": "lora", "r": 4})
    environment = {"LLMKIT_CACHE": str(tmp_path / "cache")}
    alone = ("finetune", "run.yaml", "--device", "cpu", "--set", "output=whole")
    assert llmkit(*alone, cwd=tmp_path, env=environment).code == 0

    code, _, errors = Launched(tmp_path, *SHARED).wait()

    assert code == 0, errors
    assert_same(tmp_path, "out")
    with safe_open(
        next((tmp_path / "out/checkpoints").glob("step-*")) / "optimizer.safetensors", "pt"
    ) as file:
        names = [name for name in file.keys() if name.startswith("exp_avg.")]  # noqa: SIM118
    assert names
    assert all("lora" in name for name in names)
