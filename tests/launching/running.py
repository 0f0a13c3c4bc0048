"""``llmkit finetune`` on two processes, started as a person does, and its processes to be looked at and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.fixtures.command import base_environment
from tests.training.rows import TRIALS

Tiny = Callable[[str], Path]
ROOT = Path(__file__).parents[2]
TWO = ("--device", "cpu", "--processes", "2")


def write_config(folder: Path, tiny: Tiny, task: str = "text-classification", **training: Any) -> None:
    """Write a config of a few steps, with dropout, to ``run.yaml``."""
    sections = TRIALS[task].sections(tiny, folder)
    sections["model"].pop("config", None)
    config = {
        "task": task,
        **sections,
        "training": {
            "batch_size": 3,
            "precision": "float32",
            "logging_steps": 1,
            "save_steps": 2,
            **training,
        },
        "output": "out",
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))


class Launched:
    """A call of the command that is under way, in a folder."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self._errors = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - read while it is written
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "llmkit", *arguments],
            cwd=folder,
            env=base_environment()
            | {"LLMKIT_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
            | dict(env or {}),
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def wait(self, timeout: float = 180) -> tuple[int, str, str]:
        """Return the exit code, and what was written."""
        output, _ = self.process.communicate(timeout=timeout)
        return self.process.returncode, output, self.errors()

    def errors(self) -> str:
        """Return what was written on standard error so far."""
        size = os.fstat(self._errors.fileno()).st_size
        return os.pread(self._errors.fileno(), size, 0).decode(errors="replace")

    def wait_for(self, pattern: str) -> None:
        """Wait until a file is there."""
        self._wait_until(lambda: bool(list(self.folder.glob(pattern))))

    def wait_for_a_step(self) -> None:
        """Wait until a step is logged: the log itself is there before."""
        log = self.folder / "out/log.jsonl"
        self._wait_until(lambda: log.exists() and '"loss"' in log.read_text())

    def wait_for_word(self, text: str) -> None:
        """Wait until something is said on standard error."""
        self._wait_until(lambda: text in self.errors())

    def _wait_until(self, is_so: Callable[[], bool]) -> None:
        while True:
            has_ended = self.process.poll() is not None
            if is_so():
                return
            assert not has_ended, self.errors()
            time.sleep(0.02)

    def workers(self) -> list[int]:
        """Return the processes that it started, by their ranks."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return sorted((int(child) for child in children), key=_rank)

    def kill(self, *numbers: int, by: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to its processes, by their ranks."""
        workers = self.workers()
        for number in numbers:
            os.kill(workers[number], by)


def _rank(pid: int) -> int:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next((int(pair.removeprefix(b"RANK=")) for pair in pairs if pair.startswith(b"RANK=")), -1)
