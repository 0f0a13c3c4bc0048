"""The command with warm workers, as a person starts it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.fixtures.command import TIMEOUT, Completed, base_environment

CLASSIFY = ("pipeline", "text-classification")


class Warm:
    """The command as a person starts it, with workers of its own in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # On a busy machine a worker may take its time: a call without it is not what is tried here.
        patience = {"LLMKIT_WARM_IDLE": "300", "LLMKIT_WARM_PATIENCE": "60"}
        self.environment = base_environment() | patience | {"XDG_RUNTIME_DIR": str(folder)}

    def start(self, *arguments: str | Path, env: Mapping[str, str] | None = None, **options: Any) -> Any:
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        command = [sys.executable, "-m", "llmkit", *map(str, arguments)]
        return subprocess.Popen(command, env=self.environment | dict(env or {}), **(streams | options))

    def __call__(
        self, *arguments: str | Path, stdin: bytes = b"", env: Mapping[str, str] | None = None, **options: Any
    ) -> Completed:
        process = self.start(*arguments, env=env, **options)
        stdout, stderr = process.communicate(stdin, timeout=TIMEOUT)
        return Completed(process.returncode, stdout, stderr.decode())

    def workers(self) -> list[dict[str, Any]]:
        """What `llmkit warm list` says, read from where it reads it."""
        files = sorted((self.folder / "llmkit").glob("warm-*.json"))
        return [json.loads(file.read_text()) for file in files]

    def is_settled(self) -> bool:
        """Tell whether the worker has learned all that a call before had to tell it."""
        (state,) = self.workers()
        return bool(state["models"]) and not state["running"] and not state["loading"]

    def stop(self) -> None:
        self("warm", "stop")


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + TIMEOUT
    while not (value := condition()):
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.02)
    return value
