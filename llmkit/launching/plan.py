"""What a call starts: how many processes on which devices of how many machines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmkit.data.numerals import whole_number
from llmkit.errors import UsageError
from llmkit.launching.surroundings import is_one_of_several, is_task_a_node, slurm_rendezvous
from llmkit.wanted import at_least, should_be

_DRIVERS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """What a person said.

    Attributes:
        gpus: a number of them, or their numbers with commas: 2, or 0,1.
        processes: on this machine.
        node_rank: which of the machines this one is, from 0; the first writes.
        rendezvous: HOST:PORT of the first machine.
        max_restarts: how often a group that lost a process is begun again; None for what is usual there.
    """

    gpus: str | None = None
    processes: int | None = None
    nodes: int | None = None
    node_rank: int | None = None
    rendezvous: str | None = None
    max_restarts: int | None = None

    @property
    def names_any(self) -> bool:
        """Something was said."""
        return self != LaunchOptions()


@dataclass(frozen=True, slots=True)
class Launch:
    """What is started.

    Attributes:
        processes: on this machine; the same number on each of `nodes`.
        gpus: what ``CUDA_VISIBLE_DEVICES`` is for the processes; None leaves it as it is.
        address, port: where the machines meet; port 0 is any that is free.
    """

    processes: int
    gpus: str | None = None
    nodes: int = 1
    node_rank: int = 0
    address: str = "127.0.0.1"
    port: int = 0
    max_restarts: int = 0

    @property
    def is_one_process(self) -> bool:
        """Nobody has to be started or watched."""
        return self.processes == self.nodes == 1 and self.max_restarts == 0


def plan_launch(
    options: LaunchOptions, *, device: str, devices: int | Sequence[int] | None = None
) -> Launch | None:
    """Return what a call starts; None where it is one of a group already.

    Args:
        device: as ``--device`` says it.
        devices: as the config says it: the number of GPUs, or which.

    Raises:
        UsageError: the options do not go together, or there are not as many GPUs.
    """
    check_options(options)
    if is_one_of_several():
        return None
    processes, gpus = _devices(options, device, devices)
    nodes, rank, address, port = _machines(options)
    return Launch(processes, gpus, nodes, rank, address, port, options.max_restarts or 0)


def check_options(options: LaunchOptions) -> None:
    """Look at numbers that are wrong wherever the command runs.

    Raises:
        UsageError: one is out of range.
    """
    for name, least in (("processes", 1), ("nodes", 1), ("node_rank", 0), ("max_restarts", 0)):
        at_least(least, getattr(options, name), f"--{name.replace('_', '-')}")
    nodes = options.nodes or 1
    if options.node_rank is not None and options.node_rank >= nodes:
        raise should_be(f"--node-rank {options.node_rank}", f"from 0 to {nodes - 1} with --nodes {nodes}")


def _devices(
    options: LaunchOptions, device: str, devices: int | Sequence[int] | None
) -> tuple[int, str | None]:
    """Return the number of processes on this machine, and which GPUs they see."""
    wanted = _wanted_gpus(options.gpus, devices)
    if device not in ("auto", "cuda"):
        if options.gpus is not None:
            raise UsageError(f"--gpus {options.gpus} and --device {device}: give one of them.")
        if device != "cpu" and (options.processes or 1) > 1:
            raise UsageError(f"--device {device} is one device: --processes is for --device cpu, or --gpus.")
        return options.processes or 1, None
    visible = visible_gpus()
    if not visible:
        if wanted is not None:
            raise UsageError("no GPU is visible here.", hint="On the CPU: --device cpu, with --processes N.")
        return options.processes or 1, None
    chosen = visible if wanted is None else _chosen(wanted, visible)
    processes = options.processes or len(chosen)
    if processes > len(chosen):
        raise UsageError(
            f"--processes {processes}: there are {len(chosen)} GPUs for them.",
            hint="A process has a GPU to itself; on the CPU: --device cpu.",
        )
    return processes, ",".join(chosen[:processes])


def _wanted_gpus(text: str | None, devices: int | Sequence[int] | None) -> int | list[int] | None:
    if text is None:
        return devices if devices is None or isinstance(devices, int) else list(devices)
    numbers = [whole_number(part.strip()) for part in text.split(",") if part.strip()]
    known = [number for number in numbers if number is not None]
    if not known or len(known) < len(numbers) or ("," not in text and known == [0]):
        raise should_be(f"--gpus {text}", "a number of GPUs (2), or which of them (0,1; the first alone: 0,)")
    return known[0] if "," not in text else known


def _chosen(wanted: int | list[int], visible: list[str]) -> list[str]:
    """Return the GPUs that are meant, by what CUDA_VISIBLE_DEVICES calls them."""
    numbers = range(wanted) if isinstance(wanted, int) else wanted
    missing = next((number for number in numbers if number >= len(visible)), None)
    if missing is not None:
        there = "one GPU" if len(visible) == 1 else f"{len(visible)} GPUs"
        raise UsageError(f"GPU {missing} is not there: {there} can be seen, numbered from 0.")
    if len(set(numbers)) < len(numbers):
        raise UsageError("a GPU is named twice: each has one process.")
    return [visible[number] for number in numbers]


def visible_gpus() -> list[str]:
    """Return the GPUs that may be used, by what CUDA_VISIBLE_DEVICES calls them."""
    if not any(Path(name).exists() for name in _DRIVERS):  # torch takes a second to say so
        return []
    import torch

    count = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[:count] if named else [str(number) for number in range(count)]


def _machines(options: LaunchOptions) -> tuple[int, int, str, int]:
    """Return the number of machines, which this is, and where they meet."""
    if options.nodes is None and is_task_a_node():
        address, port = slurm_rendezvous()
        return int(os.environ["SLURM_STEP_NUM_NODES"]), int(os.environ["SLURM_NODEID"]), address, port
    nodes = options.nodes or 1
    if options.nodes is None and options.rendezvous is not None:
        raise UsageError(
            f"--rendezvous {options.rendezvous}: how many machines meet there?", hint="Say it with --nodes N."
        )
    if nodes == 1:
        return 1, 0, "127.0.0.1", 0
    if options.node_rank is None or options.rendezvous is None:
        raise UsageError(
            f"--nodes {nodes} needs --node-rank and --rendezvous.",
            hint="On each machine its own number from 0, and on all the same HOST:PORT of the first.",
        )
    address, _, port_text = options.rendezvous.rpartition(":")
    number = whole_number(port_text)
    if not address or number is None or not 0 < number < 2**16:
        raise UsageError(f"--rendezvous {options.rendezvous}: write HOST:PORT, such as 10.0.0.1:29400.")
    return nodes, options.node_rank, address.strip("[]"), number


def threads_each(processes: int) -> int:
    """Return how many threads a process may take, so that all of them do not take more than there are cores."""
    return max(1, len(os.sched_getaffinity(0)) // processes)
