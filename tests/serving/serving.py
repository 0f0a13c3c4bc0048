"""A server as a person starts it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import httpx
import jsonschema_rs

from tests.fixtures.command import TIMEOUT, base_environment

MESSAGES = [{"role": "user", "content": "the bank of the town"}]


class Server:
    """`llmkit serve` in a process of its own, at a free port; or another command that serves.

    What it answers must be as its own /openapi.json says.

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
        self.client.event_hooks["response"] = [self._assert_described] if command == "serve" else []
        self._validators: dict[str, Any] | None = None

    def _assert_described(self, answer: httpx.Response) -> None:
        kind = answer.headers.get("content-type", "")
        if answer.request.method != "POST" or answer.status_code != 200 or "json" not in kind:
            return
        if self._validators is None:
            allowed = {k: v for k, v in answer.request.headers.items() if k == "authorization"}
            try:
                document = httpx.get(f"{self.url}/openapi.json", headers=allowed, timeout=TIMEOUT).json()
            except httpx.TransportError:  # told to stop, it takes no new connection
                return
            self._validators = dict(answer_validators(document))
        validator = self._validators.get(answer.request.url.path)
        if validator is not None:
            errors = [str(each) for each in validator.iter_errors(json.loads(answer.read()))]
            assert not errors, errors[0]

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


def answer_validators(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Go through the paths whose answers an OpenAPI document describes, with what holds answers against it."""
    for path, ways in document["paths"].items():
        content = ways.get("post", {}).get("responses", {}).get("200", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema")
        if schema is not None:
            whole = {**schema, "components": document["components"]}
            yield path, jsonschema_rs.Draft202012Validator(whole)
