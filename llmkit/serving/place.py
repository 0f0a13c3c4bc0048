"""Where a warm worker's files are, and what makes it the right one for a call.

Read by every warm call before anything else: it imports nothing that takes longer than a millisecond.
"""

from __future__ import annotations

import os
import sys

from llmkit._version import __version__

# What Python, torch, transformers, the hub's client and llmkit itself read once, when they are imported.
_SETTINGS = (
    "ACCELERATE_", "ATEN_", "CUDA", "DISABLE_SAFETENSORS", "DNNL_", "GLIBC_TUNABLES", "GOMP_", "HF_", "HOME",
    "HUGGINGFACE", "KMP_", "LANG", "LC_", "LD_", "LLMKIT_", "MALLOC_", "MKL_", "NCCL_", "OMP_", "ONEDNN_",
    "OPENBLAS_", "PYTHON", "PYTORCH", "RAYON_", "SAFETENSORS_", "TEMP", "TMP", "TOKENIZERS_", "TORCH",
    "TRANSFORMERS_", "XDG_",
)  # fmt: skip
_READ_ANEW = ("HF_TOKEN", "LLMKIT_WARM", "LLMKIT_WARM_PATIENCE", "LLMKIT_DEBUG")
_ONLY_OURS = 0o700
_PRIME = 4294967291  # the largest one of 32 bits


class NoPlaceError(Exception):
    """There is no folder for the worker's files that is this user's alone; the message says why."""


def runtime_folder() -> str:
    """Return the folder for sockets that is this user's alone, made if need be.

    Raises:
        NoPlaceError: it cannot be made, or what is there is somebody else's or open to others.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    temporary = os.environ.get("TMPDIR") or "/tmp"
    folder = os.path.join(base, "llmkit") if base else os.path.join(temporary, f"llmkit-{os.getuid()}")  # noqa: PTH118
    try:
        os.mkdir(folder, _ONLY_OURS)  # noqa: PTH102
    except FileExistsError:
        pass
    except OSError as error:
        raise NoPlaceError(f"{folder}: {error.strerror}") from None
    found = os.lstat(folder)
    # 0o170000 and 0o040000 are stat's S_IFMT and S_IFDIR: a link to a folder is none.
    if found.st_mode & 0o170000 != 0o040000 or found.st_uid != os.getuid():
        raise NoPlaceError(f"{folder} is not a folder of this user")
    if found.st_mode & 0o077:
        raise NoPlaceError(f"{folder} is open to other users; chmod 700 it")
    return folder


class Place:
    """The files of one worker: its socket, the lock that it holds while it lives, what it says of itself, its log."""

    def __init__(self, folder: str, name: str) -> None:
        self.name = name
        self.socket = f"{folder}/{name}.sock"
        self.lock = f"{folder}/{name}.lock"
        self.starting = f"{folder}/{name}.starting"
        self.state = f"{folder}/{name}.json"
        self.log = f"{folder}/{name}.log"


def settings_of(environment: dict[str, str]) -> str:
    """Return what a process has taken up for good once it has imported the libraries."""
    kept = [
        f"{name}={value}"
        for name, value in environment.items()
        if name.startswith(_SETTINGS) and name not in _READ_ANEW
    ]
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return "\n".join([sys.executable, f"cores {cores}", *sorted(kept)])


def place_for(settings: str) -> Place:
    """Return the place of the worker for some settings; that they are the same in full, the worker itself checks.

    Raises:
        NoPlaceError: there is no folder for it.
    """
    # As good a hash here as one to be imported.
    number = int.from_bytes(os.fsencode(settings), "big") % _PRIME
    return Place(runtime_folder(), f"warm-{number:08x}")


def installed() -> str:
    """Return what changes when llmkit, Python or any package beside it is another than before.

    Installing a package, or removing one, changes the time of the folder that it is in.
    """
    folders = [path for path in sys.path if path.endswith("-packages")]
    times = []
    for folder in folders:
        try:
            times.append(f"{folder} {os.stat(folder).st_mtime_ns}")  # noqa: PTH116
        except OSError:
            continue
    return "\n".join([__version__, sys.version, *times])
