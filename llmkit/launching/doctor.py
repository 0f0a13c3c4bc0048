"""What there is on this machine for a long run: versions, devices and links, memory, disk, hub and caches."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NotRequired
from urllib.parse import urlsplit

from typing_extensions import TypedDict

from llmkit.data.cache_folder import cache_folder
from llmkit.hardware.main_memory import of_machine
from llmkit.launching.trial import Trial

_PACKAGES = [
    "hf-llmkit",
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "evaluate",
    "huggingface_hub",
    "safetensors",
    "tokenizers",
    "numpy",
    "peft",
    "bitsandbytes",
    "deepspeed",
    "flash-attn",
]
_SECONDS = 3.0  # for the hub to answer


class System(TypedDict):
    """The machine: `cores` are those that this process may use."""

    platform: str
    host: str
    cpu: str | None
    cores: int
    native_bfloat16: bool


class Gpu(TypedDict):
    """A GPU, its bytes of memory and the others that it reaches directly."""

    number: int
    name: str
    capability: str
    memory: int
    free: int
    peers: list[int]


class Memory(TypedDict):
    """Bytes of this machine's memory."""

    total: int
    available: int


class Disk(TypedDict):
    """A folder, and the bytes that are free there."""

    path: str
    free: int
    writable: bool


class Hub(TypedDict):
    """The hub; `answers` is null where nobody asked it, `reason` says why it does not."""

    endpoint: str
    offline: bool
    token: bool
    answers: bool | None
    reason: NotRequired[str]


class Examined(TypedDict):
    """What this machine has for a long run; `trial` with --devices, where there are several."""

    versions: dict[str, str | None]
    system: System
    gpus: list[Gpu]
    links: str | None
    memory: Memory
    disks: dict[str, Disk]
    hub: Hub
    trial: NotRequired[Trial]


def examined() -> dict[str, Any]:
    """Return what there is: versions, CPU, GPUs and their links, memory and disks in bytes, hub and caches."""
    return {
        "versions": {"python": platform.python_version(), **_versions()},
        "system": {"platform": platform.platform(), "host": socket.gethostname(), **_cpu()},
        "gpus": _gpus(),
        "links": _links(),
        "memory": _memory(),
        "disks": _disks(),
        "hub": _hub(),
    }


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _cpu() -> dict[str, Any]:
    from llmkit.models.loading import choose_device, has_native_bfloat16

    model = None
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(
            (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None
        )
    return {
        "cpu": model or platform.processor() or None,
        "cores": len(os.sched_getaffinity(0)),
        "native_bfloat16": has_native_bfloat16(choose_device("cpu")),
    }


def _gpus() -> list[dict[str, Any]]:
    import torch

    found = []
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        free, total = torch.cuda.mem_get_info(number)
        found.append(
            {
                "number": number,
                "name": about.name,
                "capability": f"{about.major}.{about.minor}",
                "memory": total,
                "free": free,
                "peers": [
                    other
                    for other in range(torch.cuda.device_count())
                    if other != number and torch.cuda.can_device_access_peer(number, other)
                ],
            }
        )
    return found


def _links() -> str | None:
    """Return what the driver says of the links between GPUs and network cards; None without it."""
    if shutil.which("nvidia-smi") is None:
        return None
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            ["nvidia-smi", "topo", "-m"], capture_output=True, text=True, timeout=20, check=False
        )
        return done.stdout.strip() or None
    return None


def _memory() -> dict[str, int]:
    found = of_machine()
    return {"total": found.total, "available": found.available} if found else {"total": 0, "available": 0}


def _disks() -> dict[str, dict[str, Any]]:
    from huggingface_hub.constants import HF_HUB_CACHE

    places = {"here": Path.cwd(), "llmkit's cache": cache_folder(), "the hub's cache": Path(HF_HUB_CACHE)}
    return {name: {"path": str(path), **_room(path)} for name, path in places.items()}


def _room(path: Path) -> dict[str, Any]:
    """Return the free bytes of a folder that may still have to be made, and whether it can be written."""
    there = next(each for each in (path, *path.parents) if each.exists())
    return {"free": shutil.disk_usage(there).free, "writable": os.access(there, os.W_OK)}


def _hub() -> dict[str, Any]:
    from huggingface_hub import constants, get_token

    address = urlsplit(constants.ENDPOINT)
    found: dict[str, Any] = {
        "endpoint": constants.ENDPOINT,
        "offline": constants.HF_HUB_OFFLINE,
        "token": get_token() is not None,
        "answers": None,
    }
    if not constants.HF_HUB_OFFLINE and address.hostname:
        port = address.port or (443 if address.scheme == "https" else 80)
        try:
            socket.create_connection((address.hostname, port), timeout=_SECONDS).close()
            found["answers"] = True
        except (OSError, UnicodeError) as error:  # no such name, or one that no name can be
            found["answers"], found["reason"] = False, getattr(error, "strerror", None) or str(error)
    return found
