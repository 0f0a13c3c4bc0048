"""``--check --pretend-gpus``: at a size that is not there, a whole step, and what each device has of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.command import Command
from tests.launching.running import Tiny
from tests.training.test_sharding import write_config

CHECK = ("finetune", "run.yaml", "--check", "--device", "cpu", "--format", "json", "--pretend-gpus")


@pytest.mark.parametrize("task", ["causal-lm", "sentence-embedding"])
def test_each_has_its_share(task: str, llmkit: Command, tiny: Tiny, tmp_path: Path) -> None:
    write_config(tmp_path, tiny, task)
    done = llmkit(*CHECK, "4", cwd=tmp_path, env={"LLMKIT_CACHE": str(tmp_path / "cache")})

    assert done.code == 0, done.stderr
    found = done.json
    assert (found["devices"], found["batch_size"]) == (4, 3)
    assert found["each_device"]["examples_a_step"] == [0, 1]
    assert found["each_device"]["idle_devices"] == 1
    assert found["each_device"]["own_parameters"] == found["parameters"]
    assert not (tmp_path / "out").exists()


def test_a_person_sees_it_too(llmkit: Command, tiny: Tiny, tmp_path: Path) -> None:
    write_config(tmp_path, tiny, "causal-lm")
    environment = {"LLMKIT_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": ""}
    done = llmkit(*CHECK[:-2], "table", "--pretend-gpus", "4", cwd=tmp_path, env=environment)

    assert done.code == 0, done.stderr
    assert "Each of 4 devices" in done.text
    assert "1 of 4 devices have nothing to do in the first step." in done.text
    assert "OMP_NUM_THREADS" not in done.stderr


def test_a_sharded_one_needs_less(llmkit: Command, tiny: Tiny, tmp_path: Path) -> None:
    write_config(tmp_path, tiny, "causal-lm")
    environment = {"LLMKIT_CACHE": str(tmp_path / "cache")}
    alone = llmkit(*CHECK, "1", cwd=tmp_path, env=environment).json
    done = llmkit(*CHECK, "128", "--set", "sharding=fsdp", cwd=tmp_path, env=environment)

    assert done.code == 0, done.stderr
    found = done.json
    assert found["each_device"]["sharded"]
    assert found["parameters"] == alone["parameters"]
    assert found["each_device"]["own_parameters"] < alone["parameters"] / 32
    for name in ("weights", "gradients", "optimizer"):
        assert found["memory"][name] < alone["memory"][name] / 8
    assert found["memory"]["activations"] > 0


def test_deepspeed_wants_devices_that_are_there(llmkit: Command, tiny: Tiny, tmp_path: Path) -> None:
    write_config(tmp_path, tiny, "causal-lm", sharding={"type": "deepspeed", "config": "zero.json"})
    done = llmkit(*CHECK, "2", cwd=tmp_path)

    assert done.code == 2
    assert "--pretend-gpus does not go with sharding: deepspeed" in done.stderr


def test_it_is_for_a_check(llmkit: Command, tiny: Tiny, tmp_path: Path) -> None:
    write_config(tmp_path, tiny, "causal-lm")
    done = llmkit("finetune", "run.yaml", "--pretend-gpus", "2", cwd=tmp_path)

    assert done.code == 2
    assert "--pretend-gpus goes with --check" in done.stderr
