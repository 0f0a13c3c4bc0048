"""What a warm worker's process runs: ``python -m llmkit.cli.warm_worker``, started by a warm call alone."""

from __future__ import annotations

import atexit
import fcntl
import gc
import importlib
import os
import socket
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from llmkit.cli.loading import quiet_libraries
from llmkit.cli.main import main, subcommand, whole_command
from llmkit.serving.one_call import Identity
from llmkit.serving.place import Place, installed, runtime_folder, settings_of
from llmkit.serving.starting import LISTENING
from llmkit.serving.worker import Worker, idle_seconds
from llmkit.tasks.catalogue import tasks

_SECONDS_FOR_LOCK = 2.0
# What a call of `llmkit pipeline` imports on its way, beside the libraries.
_NEEDED = (
    "llmkit.cli.main",
    "llmkit.cli.pipeline",
    "llmkit.cli.pipeline_run",
    "llmkit.data.shared_rows",
    "llmkit.inference.apply",
    "llmkit.models.native_attention",
    "llmkit.tasks.build",
    "llmkit.tasks.resolve",
    "rich.console",
    "rich.table",
)


def run_worker(name: str, tells: int) -> None:
    """Listen at a place until it is time to leave.

    Args:
        name: the place's.
        tells: a descriptor that is told when it listens.
    """
    place = Place(runtime_folder(), name)
    lock = _lock(place)
    if lock is None:
        return  # another one is there
    stamp, settings = installed(), settings_of(dict(os.environ))
    os.umask(0o077)
    Path(place.socket).unlink(missing_ok=True)
    renew = _import_all()
    tasks()
    _parse()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(place.socket)
    Path(place.socket).chmod(0o600)
    listener.listen(socket.SOMAXCONN)
    _settle()
    identity = Identity(stamp, settings, _versions(), renew, lock, _settle, rehearse=_parse)
    worker = Worker(place, listener, main, identity, idle_seconds())
    os.write(tells, LISTENING)
    os.close(tells)
    worker.work()


def _parse() -> None:
    """Have the parser do what it does at the first call line only."""
    with suppress(Exception):
        whole_command().make_context("llmkit", [])
        subcommand("pipeline").make_context("pipeline", ["fill-mask", "text"])


def _lock(place: Place) -> int | None:
    """Take the lock that a worker holds while it lives, None where another has it."""
    lock = os.open(place.lock, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + _SECONDS_FOR_LOCK
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        if time.monotonic() > deadline:
            os.close(lock)
            return None
        time.sleep(0.01)


def _import_all() -> Callable[[], None]:
    """Import what a call needs, and compute with one thread from now on.

    Returns:
        Makes a process that was forked from this one as a new one is: with all its threads, which do not come along
        where they have been started, so that OpenMP would wait for them for ever; with randomness of its own.
    """
    with quiet_libraries():
        import numpy
        import torch
        import transformers.pipelines

        for name in _NEEDED:
            importlib.import_module(name)
    del transformers
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def undo() -> None:
        torch.set_num_threads(threads)
        torch.seed()
        numpy.random.seed()  # Python's own generator sees to that itself

    return undo


def _settle() -> None:
    """Keep a forked process from what is there to stay, which it would copy by looking at it.

    That is what the garbage collector looks through, and what the libraries do when the process ends that has
    imported them.
    """
    gc.collect()
    gc.freeze()
    atexit._clear()
    with suppress(AttributeError):
        for each in list(weakref.finalize._registry):  # type: ignore[attr-defined]
            each.atexit = False
        weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]


def _versions() -> dict[str, str]:
    import torch
    import transformers

    from llmkit._version import __version__

    return {"llmkit": __version__, "torch": torch.__version__, "transformers": transformers.__version__}


if __name__ == "__main__":
    run_worker(sys.argv[1], int(sys.argv[2]))
