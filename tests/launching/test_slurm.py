"""The script for sbatch."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import UsageError
from llmkit.launching.plan import LaunchOptions
from llmkit.launching.slurm import sbatch_script

CALL = [
    "finetune",
    "my run.yaml",
    "--slurm",
    "out.sbatch",
    "--nodes=4",
    "--gpus",
    "2",
    "--set",
    "training.epochs=1",
]


def test_the_command_is_the_call_without_what_slurm_says() -> None:
    script = sbatch_script(CALL, LaunchOptions(gpus="2", nodes=4))

    assert "#SBATCH --nodes=4\n" in script
    assert "#SBATCH --gpus-per-node=2\n" in script
    command = script.strip().splitlines()[-1]
    assert command.endswith(
        "-m llmkit finetune 'my run.yaml' --set training.epochs=1 --max-restarts 3 $again"
    )


@pytest.mark.parametrize(
    ("options", "device", "devices", "asked"),
    [
        (LaunchOptions(), "auto", None, "=8\n"),
        (LaunchOptions(), "auto", 2, "=2\n"),
        (LaunchOptions(), "auto", [0, 1, 3], "=3\n"),
        (LaunchOptions(gpus="4"), "cuda", 2, "=4\n"),
        (LaunchOptions(), "cpu", None, None),
    ],
)
def test_as_many_gpus_are_asked_for_as_the_run_takes(
    options: LaunchOptions, device: str, devices: Any, asked: str | None
) -> None:
    script = sbatch_script(CALL, options, device=device, devices=devices)
    found = [line for line in script.splitlines(keepends=True) if "--gpus-per-node" in line]
    assert found == ([] if asked is None else [f"#SBATCH --gpus-per-node{asked}"])


def test_the_shell_takes_it(tmp_path: Path) -> None:
    script = sbatch_script(CALL, LaunchOptions(nodes=2, max_restarts=7))
    lines = script.replace("srun ", "printf '%s|' ")
    run = ["bash", "-c", lines]
    first, again = (
        subprocess.run(run, env={"PATH": "/usr/bin:/bin", **more}, capture_output=True, text=True, check=True)
        for more in ({}, {"SLURM_RESTART_COUNT": "1"})
    )
    assert first.stdout.endswith("|finetune|my run.yaml|--set|training.epochs=1|--max-restarts|7|")
    assert again.stdout == f"{first.stdout}--resume|"


@pytest.mark.parametrize(("more", "told"), [({}, "none"), ({"SLURM_CPUS_PER_TASK": "64"}, "64")])
def test_the_cores_that_were_asked_for_are_taken(more: dict[str, str], told: str) -> None:
    script = sbatch_script(CALL, LaunchOptions()).replace("srun ", 'echo "${SRUN_CPUS_PER_TASK:-none}" ')
    done = subprocess.run(
        ["bash", "-c", script],
        env={"PATH": "/usr/bin:/bin", **more},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"{told} --kill")


def test_what_replaces_a_run_at_first_goes_on_with_it_when_begun_again() -> None:
    script = sbatch_script([*CALL, "--overwrite"], LaunchOptions(nodes=2)).replace("srun ", "printf '%s|' ")
    ends = [
        subprocess.run(
            ["bash", "-c", script],
            env={"PATH": "/usr/bin:/bin", **more},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("|")[-2]
        for more in ({}, {"SLURM_RESTART_COUNT": "1"})
    ]
    assert ends == ["--overwrite", "--resume"]


@pytest.mark.parametrize(
    "options",
    [
        LaunchOptions(gpus="0,1"),
        LaunchOptions(gpus="0"),
        LaunchOptions(gpus="²"),
        LaunchOptions(nodes=2, node_rank=0),
        LaunchOptions(nodes=0),
        LaunchOptions(nodes=-3),
        LaunchOptions(max_restarts=-1),
    ],
)
def test_what_slurm_says_itself_and_what_is_no_number_of_anything(options: LaunchOptions) -> None:
    with pytest.raises(UsageError):
        sbatch_script(CALL, options)
