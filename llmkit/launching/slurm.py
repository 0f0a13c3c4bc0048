"""A script for SLURM: the same command on each machine of a job, begun again when the job is."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from llmkit.data.numerals import whole_number
from llmkit.errors import UsageError
from llmkit.launching.plan import LaunchOptions, check_options
from llmkit.wanted import should_be

_RESTARTS = 3
_GPUS = 8  # of a machine, where nobody says it
_SECONDS_TO_SAVE = 120
_OURS = {"--slurm": 1, "--nodes": 1, "--node-rank": 1, "--rendezvous": 1, "--gpus": 1, "--max-restarts": 1}
_SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --nodes={nodes}
#SBATCH --ntasks-per-node=1
{gpus}#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
# Told to stop so many seconds before its time is up, a run saves; a job that is begun again goes on.
#SBATCH --signal=TERM@{seconds}
#SBATCH --requeue

set -u
cd {folder}
again=${{SLURM_RESTART_COUNT:+--resume}}
# sbatch --cpus-per-task N is for srun too, which does not take it over by itself since SLURM 22.05.
[ -z "${{SLURM_CPUS_PER_TASK:-}}" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
srun --kill-on-bad-exit=1 {command}
"""


def sbatch_script(
    arguments: Sequence[str],
    options: LaunchOptions,
    *,
    device: str = "auto",
    devices: int | Sequence[int] | None = None,
) -> str:
    """Return a script for ``sbatch``.

    Args:
        arguments: of the command, as they were given; those that say where it runs are left to SLURM.
        device: as ``--device`` says it; without GPUs none are asked for.
        devices: as the config says it; ``--gpus`` wins.

    Raises:
        UsageError: which GPUs is for SLURM to say; a number is out of range.
    """
    check_options(options)
    if options.gpus is not None and not whole_number(options.gpus):
        raise should_be(f"--gpus {options.gpus}", "a number, 1 or more: SLURM chooses which")
    if options.node_rank is not None or options.rendezvous is not None:
        raise UsageError("--node-rank and --rendezvous follow from SLURM: leave them out.")
    number = devices if devices is None or isinstance(devices, int) else len(devices)
    gpus = (options.gpus or number or _GPUS) if device in ("auto", "cuda") else None
    kept = _without(arguments, _OURS)
    restarts = _RESTARTS if options.max_restarts is None else options.max_restarts
    command = [sys.executable, "-m", "llmkit", *kept, "--max-restarts", str(restarts)]
    if "--resume" not in kept and "--resume-anyway" not in kept:
        command = [part for part in command if part != "--overwrite"] + ["$AGAIN"]
    # What is to be replaced at first is gone on with when the job is begun again.
    again = "${again:---overwrite}" if "--overwrite" in kept else "$again"
    text = shlex.join(command).replace("'$AGAIN'", again)
    return _SCRIPT.format(
        name=f"llmkit-{arguments[0] if arguments else 'run'}",
        nodes=options.nodes or 1,
        gpus="" if gpus is None else f"#SBATCH --gpus-per-node={gpus}\n",
        seconds=_SECONDS_TO_SAVE,
        folder=shlex.quote(str(Path.cwd())),
        command=text,
    )


def _without(arguments: Sequence[str], options: dict[str, int]) -> list[str]:
    """Return arguments but for some options and their values."""
    kept: list[str] = []
    skipped = 0
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if skipped:
            skipped -= 1
        elif name in options:
            skipped = 0 if equals else options[name]
        else:
            kept.append(argument)
    return kept
