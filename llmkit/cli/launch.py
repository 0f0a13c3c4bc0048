"""What the options that start processes do: for every command that runs on several devices."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.cli.answers import write_to
from llmkit.cli.channels import note, warn
from llmkit.errors import UsageError
from llmkit.launching.plan import Launch, LaunchOptions, plan_launch
from llmkit.launching.slurm import sbatch_script
from llmkit.launching.surroundings import join_slurm_step, torch_loaded_silently
from llmkit.launching.watch import silence_allowed
from llmkit.launching.worker import take_own_gpu

if TYPE_CHECKING:
    from llmkit.inference.apply import InputChoice


def launch(options: LaunchOptions, *, device: str, devices: int | list[int] | None = None) -> None:
    """Run this same command in several processes and end with its exit code, where several are wanted.

    Raises:
        SystemExit: they have run.
        UsageError: the options do not go together, or there are not as many GPUs.
        LlmkitError: a process was lost.
    """
    with torch_loaded_silently():
        planned = plan_launch(options, device=device, devices=devices)
        if planned is not None and not planned.is_one_process:
            start(planned)
    if planned is not None and planned.gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = planned.gpus


def join_launch() -> int:
    """Let a process of several know its number and see its own GPU alone; return the number, 0 for the only one."""
    join_slurm_step()
    take_own_gpu()
    return int(os.environ.get("RANK", 0))


def launch_over_files(
    options: LaunchOptions, choice: InputChoice, device: str, *, dedupe: bool = False
) -> None:
    """Run this same command over files or a dataset in several processes, where several are wanted.

    Raises:
        SystemExit: they have run.
        UsageError: rows that come one by one have one process, and so have texts that are embedded once.
    """
    if choice.is_live or choice.arguments or not (choice.files or choice.dataset):
        if options.names_any:
            raise UsageError(
                "several processes work on files and datasets alone.",
                hint="Name the input with --input or --dataset.",
            )
        return
    if dedupe:
        if options.names_any:
            raise UsageError("--dedupe goes with one process: the others do not know what it has met.")
        return
    launch(options, device=device)


def start(planned: Launch) -> None:
    """Run this same command in the processes of a launch, and end with its exit code.

    Raises:
        SystemExit: they have run.
        LlmkitError: a process was lost.
        UsageError: after how many seconds one is lost is said wrongly.
    """
    silence_allowed()
    from llmkit.launching.agent import run_processes

    machines = f" on each of {planned.nodes} machines" if planned.nodes > 1 else ""
    count = "process" if planned.processes == 1 else "processes"
    note(f"starting {planned.processes} {count}{machines}.")
    sys.exit(run_processes("llmkit.cli.worker", sys.argv[1:], planned, said=warn))


def write_script(
    path: str,
    options: LaunchOptions,
    *,
    device: str,
    devices: int | list[int] | None,
    overwrite: bool,
) -> None:
    """Write a script for sbatch that runs this same command on the machines of a cluster.

    Raises:
        OutputExistsError: the file is there already.
        OutputError: it cannot be written.
    """
    script = sbatch_script(sys.argv[1:], options, device=device, devices=devices)
    write_to(Path(path), script.encode(), overwrite=overwrite)
    note(f"wrote {path}; hand it in with: sbatch {path}")
