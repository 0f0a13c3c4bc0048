"""Killing a process on its way into a system call: strace looks on, and sends the signal at the call it is told."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

WRITING = [
    "write",
    "writev",
    "pwrite64",
    "fsync",
    "fdatasync",
    "ftruncate",
    "rename",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
]
"""What changes a file or a folder, or makes it last."""

_LINE = re.compile(r"(\d+) +(\w+)\((.*)")


@dataclass(frozen=True, slots=True)
class Call:
    """The `count`-th call of a kind that a process makes, from 1, and what of."""

    kind: str
    count: int
    arguments: str

    @property
    def injection(self) -> str:
        """What strace is told."""
        return f"{self.kind}:signal=KILL:when={self.count}"


def why_not() -> str | None:
    """Return why no process can be traced here; None where it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, check=False)
    return None if done.returncode == 0 else "this machine does not let processes be traced"


def attach(log: str, injection: str | None) -> None:
    """Let strace look at this process from now on, and kill it where it is told."""
    tracer = ["strace", "-f", "-qq", "-y", "-s", "0", "-o", log, "-e", f"trace={','.join(WRITING)}"]
    tracer += ["-e", f"inject={injection}"] if injection else []
    subprocess.Popen([*tracer, "-p", str(os.getpid())])
    while "TracerPid:\t0\n" in Path("/proc/self/status").read_text():
        time.sleep(0.002)


def calls_in(log: Path, folder: str) -> list[Call]:
    """Return what the first process of a log did to the files of a folder, by a part of their paths."""
    counts: Counter[str] = Counter()
    found = []
    first = None
    for line in log.read_text().splitlines():
        match = _LINE.match(line)
        if match is None or match[1] != (first := first or match[1]):
            continue
        counts[match[2]] += 1
        if folder in match[3]:
            found.append(Call(match[2], counts[match[2]], match[3]))
    return found
