"""A server as a person starts it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from types import TracebackType

import httpx

from tests.fixtures.command import TIMEOUT, base_environment


class Server:
    """`llmkit serve` in a process of its own, at a free port; or another command that serves.

    Attributes:
        client: asks it.
        said: the lines of its standard error, as they come.
    """

    def __init__(self, *arguments: str, env: Mapping[str, str] | None = None, command: str = "serve") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "llmkit", command, *arguments, "--port", "0"],
            env=base_environment() | dict(env or {}),
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []
        while not (found := re.search(r"http://\S+:\d+", line := self.process.stderr.readline())):
            self.said.append(line)
            assert line, "".join(self.said)
        # What nobody reads holds up whoever writes it.
        self._reader = threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True)
        self._reader.start()
        self.url = found[0]
        self.client = httpx.Client(base_url=self.url, timeout=TIMEOUT)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(TIMEOUT)
        finally:
            self.process.kill()
            self._reader.join(TIMEOUT)
            for stream in (self.process.stdout, self.process.stderr):
                stream.close()
