"""A bound on the memory of a process: a bad input that would fill the machine's ends in an error instead."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOM = 6 << 30  # bytes of addresses, beyond those that the process has already


def limit_memory() -> None:
    """Let this process and those that it forks take no more than `ROOM`."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    size = int(status["VmSize"].split()[0]) * 1024
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, hard))


@contextmanager
def limited_memory() -> Iterator[None]:
    """Let this process take no more than `ROOM` in a block."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit_memory()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
