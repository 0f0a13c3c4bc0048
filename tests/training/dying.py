"""The command `llmkit`, killed at the n-th thing that it does to the files of a folder.

With arguments it is the command; without, it serves `tests.fixtures.command.Command`. The environment says where and
when: ``DIES_IN`` a folder, ``DIES_AT`` a number from 1 (none: never), ``DIES_BY`` how, one of `ENDS`; ``TELLS_IN`` a
file that gets a line for each thing. Or ``TRACED_IN`` a file for strace's log, and ``DIES_IN_CALL`` the system call;
or ``DIES_AFTER`` seconds. ``CLOCK_BACK``: so many seconds is the clock behind.
"""

from __future__ import annotations

import importlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.training.syscalls import attach

FILES = {"os.rename": 2, "os.remove": 1, "os.rmdir": 1, "os.mkdir": 2, "open": -1}
"""What is looked at of Python's audit events, and which of its arguments is the folder a name is relative to."""

_FEW_LINES = 16_384
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def main() -> None:
    """Run the command, watched if it is the first of its processes."""
    if back := float(os.environ.get("CLOCK_BACK", "0")):
        real = time.time
        time.time = lambda: real() - back
    if after := os.environ.get("DIES_AFTER"):
        subprocess.Popen(["sh", "-c", f"sleep {after}; kill -9 {os.getpid()}"], stderr=subprocess.DEVNULL)
    if log := os.environ.get("TRACED_IN"):
        attach(log, os.environ.get("DIES_IN_CALL"))
    elif os.environ.get("RANK", "0") == "0":
        _watch(
            os.path.abspath(os.environ["DIES_IN"]),  # noqa: PTH100 - Path.resolve would go through links
            int(os.environ.get("DIES_AT", "0")),
            ENDS[os.environ.get("DIES_BY", "kill")],
        )
    from llmkit.cli.main import main as command

    command()


def _watch(folder: str, at: int, end: Callable[[str, str], None]) -> None:
    count = 0
    told = os.open(os.environ["TELLS_IN"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    fsync = os.fsync

    def happened(what: str, path: str) -> None:
        nonlocal count
        if not path.startswith(f"{folder}/"):
            return
        count += 1
        os.write(told, f"{what} {path.removeprefix(folder)}\n".encode())
        if count == at:
            end(what, path)

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in FILES or isinstance(arguments[0], int):
            return
        if event == "open" and not arguments[2] & _WRITING:
            return
        name, where = os.fspath(arguments[0]), arguments[FILES[event]] if event != "open" else None
        if isinstance(name, bytes):
            name = os.fsdecode(name)
        if isinstance(where, int) and where >= 0:
            name = f"{Path(f'/proc/self/fd/{where}').readlink()}/{name}"
        happened(event, os.path.abspath(name))  # noqa: PTH100

    def synced(descriptor: int) -> None:
        happened("fsync", str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    os.fsync = synced
    sys.addaudithook(heard)


def _kill(what: str, path: str) -> None:
    """End this process at once, and if torchrun started it, torchrun and all that it started."""
    mine, parent = os.getpid(), os.getppid()
    if "RANK" in os.environ:
        others = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for process in [parent, *(int(other) for other in others if int(other) != mine)]:
            os.kill(process, signal.SIGKILL)
    os.kill(mine, signal.SIGKILL)


def _cut_power(what: str, path: str) -> None:
    """The same, and a file that was being synced is on the disk by half."""
    if what == "fsync" and Path(path).is_file():
        os.truncate(path, Path(path).stat().st_size // 2)
    _kill(what, path)


def _fill_disk(what: str, path: str) -> None:
    """Let no file grow over what a few lines of text take."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FEW_LINES, _FEW_LINES))


# What every run imports: once for all of them.
IMPORTED = (
    "llmkit.cli.finetune",
    "llmkit.cli.finetune_view",
    "llmkit.cli.main",
    "llmkit.training.config",
    "matplotlib.pyplot",
    "transformers.models.bert.modeling_bert",
)
ENDS = {"kill": _kill, "power cut": _cut_power, "full disk": _fill_disk}

if __name__ == "__main__":
    if len(sys.argv) > 1:
        main()
    else:
        from tests.fixtures.command import serve

        for name in IMPORTED:
            importlib.import_module(name)

        serve(main)
