"""What SLURM says of a step, in torch's words."""

from __future__ import annotations

import pytest

from llmkit.launching.surroundings import first_host, join_slurm_step, torch_loaded_silently


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("login", "login"),
        ("a1,a2", "a1"),
        ("node[003-006,9],login", "node003"),
        ("gpu-[7,9]", "gpu-7"),
        ("rack[1-2]-ib,x", "rack1-ib"),
        ("rack[1-2]n[003-006,9],x", "rack1n003"),
    ],
)
def test_first_host(hosts: str, first: str) -> None:
    assert first_host(hosts) == first


def test_a_task_a_device() -> None:
    environment = {
        "SLURM_STEP_NUM_TASKS": "8",
        "SLURM_STEP_NUM_NODES": "2",
        "SLURM_STEP_NODELIST": "node[1-2]",
        "SLURM_JOB_ID": "41234",
        "SLURM_PROCID": "5",
        "SLURM_LOCALID": "1",
    }
    assert join_slurm_step(environment)
    found = {name: environment[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")}
    assert found == {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "node1"}
    assert environment["MASTER_PORT"] == "21234"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"},  # in the script itself, beside no step
        {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
        {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "2"},  # a task a machine: it starts the others
        {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1", "RANK": "0"},
    ],
)
def test_no_such_step(environment: dict[str, str]) -> None:
    before = dict(environment)
    assert not join_slurm_step(environment)
    assert environment == before


@pytest.mark.parametrize(("said", "within"), [({}, "FATAL"), ({"TORCH_CPP_LOG_LEVEL": "INFO"}, "INFO")])
def test_what_torch_says_as_it_is_loaded(said: dict[str, str], within: str) -> None:
    environment = dict(said)
    with torch_loaded_silently(environment):
        assert environment["TORCH_CPP_LOG_LEVEL"] == within
    assert environment == said
