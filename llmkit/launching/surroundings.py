"""Who started this process: a person, this package's own launcher, torchrun, ``accelerate launch`` or SLURM."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

from llmkit.data.numerals import whole_number
from llmkit.wanted import should_be

LAUNCH = "LLMKIT_LAUNCH"
"""Name of the variable by which a process knows its launcher: the same for all attempts of one call."""

LOG_LEVEL = "TORCH_CPP_LOG_LEVEL"
"""Name of the variable by which torch knows, as it is loaded, what of its C++ is worth a line."""

SILENT, OF_PROCESSES = "FATAL", "ERROR"
_PORTS = range(20_000, 60_000)


def is_one_of_several() -> bool:
    """Tell whether somebody started this process as one of a group, or as the one that there is to be.

    Raises:
        UsageError: as of `check_group`.
    """
    check_group()
    names = ("RANK", "LOCAL_RANK", "ACCELERATE_MIXED_PRECISION")
    return any(name in os.environ for name in names)


def check_group() -> None:
    """Check what the environment says of the group of processes that this one is of.

    Raises:
        UsageError: it is no number.
    """
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_PORT"):
        if name in os.environ and whole_number(os.environ[name].strip()) is None:
            raise should_be(
                f"{name} is {os.environ[name]!r}", "a whole number", hint="A launcher sets it: unset it."
            )


def join_slurm_step(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Let ``srun`` with a task a device be the launcher: say in torch's words what SLURM said in its own.

    Returns:
        Whether this process is a task of such a step.
    """
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS", 1))
    if "RANK" in environment or tasks == 1 or is_task_a_node(environment):
        return False
    first, port = slurm_rendezvous(environment)
    environment.update(
        RANK=environment["SLURM_PROCID"],
        WORLD_SIZE=str(tasks),
        LOCAL_RANK=environment["SLURM_LOCALID"],
        MASTER_ADDR=first,
        MASTER_PORT=str(port),
    )
    return True


def is_task_a_node(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Tell whether this is a SLURM step of several machines with one task on each, which starts the others."""
    tasks, nodes = (int(environment.get(f"SLURM_STEP_NUM_{name}", 1)) for name in ("TASKS", "NODES"))
    return nodes > 1 and tasks == nodes


def is_requeued(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Tell whether SLURM began this job again: it may have ended before the run had anything to go on with."""
    return environment.get("SLURM_RESTART_COUNT", "0") not in ("", "0")


def slurm_rendezvous(environment: MutableMapping[str, str] = os.environ) -> tuple[str, int]:
    """Return the first machine of a SLURM step, and a port that follows from the number of the job."""
    hosts = environment.get("SLURM_STEP_NODELIST") or environment["SLURM_JOB_NODELIST"]
    job = int(environment.get("SLURM_JOB_ID", 0))
    return first_host(hosts), _PORTS[job % len(_PORTS)]


def first_host(hosts: str) -> str:
    """Return the first machine of a list as SLURM writes it: ``rack[1-2]n[003-006,9],login`` gives rack1n003."""
    first = re.match(r"(?:[^,\[]|\[\d+[^\]]*\])+", hosts)
    if first is None:
        raise ValueError(f"{hosts!r} is no list of machines")
    return re.sub(r"\[(\d+)[^\]]*\]", r"\1", first[0])


@contextmanager
def torch_loaded_silently(environment: MutableMapping[str, str] = os.environ) -> Iterator[None]:
    """Let torch's C++ say nothing in a launcher that loads it within: each wait for a machine would be an error."""
    is_said = LOG_LEVEL in environment
    environment.setdefault(LOG_LEVEL, SILENT)
    try:
        yield
    finally:
        if not is_said:
            environment.pop(LOG_LEVEL, None)
