"""Many clients at once, some rude: nobody gets a wrong answer, each refusal has its status, memory stays flat."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.fixtures.command import TIMEOUT, Command
from tests.serving.serving import Server

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("LLMKIT_TEST_LOAD_SECONDS", "60"))
CLIENTS = 64
PATH = "/text-classification"
TOKEN = {"Authorization": "Bearer s3cret"}
TEXTS = [f"{'word ' * (number * 7 % 180)}number {number}" for number in range(40)]


class Crowd:
    """Clients, what they were answered, and what was wrong with it."""

    def __init__(self, server: Server, expected: dict[str, float], seconds: float) -> None:
        self.server = server
        self.expected = expected
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.wrong: list[str] = []
        self._lock = threading.Lock()
        self._ends = time.monotonic() + seconds

    def run(self) -> None:
        threads = [threading.Thread(target=self._client, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS + TIMEOUT)
            assert not thread.is_alive(), "a client hangs"

    def _client(self, number: int) -> None:
        rng = random.Random(number)
        kinds = ("good",) * 12 + ("many", "oversized", "malformed", "wrong token", "leaves", "drips")
        with httpx.Client(base_url=self.server.url, timeout=TIMEOUT, headers=TOKEN) as client:
            while time.monotonic() < self._ends:
                kind = rng.choice(kinds)
                try:
                    status = getattr(self, f"_{kind.replace(' ', '_')}")(client, rng)
                except (httpx.HTTPError, OSError):
                    status = -1
                with self._lock:
                    self.statuses[kind, status] += 1

    def _good(self, client: httpx.Client, rng: random.Random) -> int:
        text = rng.choice(TEXTS)
        answer = client.post(PATH, json={"inputs": text})
        if answer.status_code == 200 and abs(answer.json()[0][0]["score"] - self.expected[text]) > 1e-5:
            self.wrong.append(text)
        return answer.status_code

    def _many(self, client: httpx.Client, rng: random.Random) -> int:
        texts = rng.choices(TEXTS, k=rng.randint(2, 100))
        answer = client.post(PATH, json={"inputs": texts})
        if answer.status_code == 200:
            pairs = zip(texts, answer.json(), strict=True)
            self.wrong += [text for text, row in pairs if abs(row[0]["score"] - self.expected[text]) > 1e-5]
        return answer.status_code

    def _oversized(self, client: httpx.Client, rng: random.Random) -> int:
        return client.post(PATH, json={"inputs": "x" * 200_000}).status_code

    def _malformed(self, client: httpx.Client, rng: random.Random) -> int:
        return client.post(
            PATH, content=b'{"inputs"', headers={"Content-Type": "application/json"}
        ).status_code

    def _wrong_token(self, client: httpx.Client, rng: random.Random) -> int:
        return client.post(PATH, json={"inputs": "x"}, headers={"Authorization": "Bearer no"}).status_code

    def _connect(self, length: int) -> socket.socket:
        host, port = self.server.url.removeprefix("http://").split(":")
        connection = socket.create_connection((host, int(port)), timeout=TIMEOUT)
        connection.sendall(
            f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n".encode()
        )
        return connection

    def _leaves(self, client: httpx.Client, rng: random.Random) -> int:
        body = b'{"inputs": "%s"}' % (b"word " * 150)
        with self._connect(len(body)) as connection:
            connection.sendall(body[: rng.choice((5, len(body)))])
        return 0

    def _drips(self, client: httpx.Client, rng: random.Random) -> int:
        body = b'{"inputs": "a fine day"}'
        with self._connect(len(body)) as connection:
            for byte in body[:-1]:
                connection.sendall(bytes([byte]))
                time.sleep(0.002)
            connection.sendall(body[-1:])
            return int(connection.recv(64).split()[1])


def rss(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_crowd(tiny: Callable[[str], Path], llmkit: Command) -> None:
    """There is no process behind the server that could be killed: it computes in a thread of its own."""
    model = tiny("text-classification")
    offline = llmkit("pipeline", "text-classification", "-m", model, stdin="\n".join(TEXTS))
    expected = {text: row["score"] for text, row in zip(TEXTS, offline.lines, strict=True)}
    limits = ("--token", "s3cret", "--max-body", "100000", "--max-waiting", "48")
    with Server(f"text-classification={model}", *limits) as server:
        server.client.headers.update(TOKEN)
        Crowd(server, expected, SECONDS / 3).run()  # until it has what it needs
        before = rss(server.process.pid)
        crowd = Crowd(server, expected, SECONDS)
        crowd.run()
        after = rss(server.process.pid)
        health = server.client.get("/health").json()
    print(dict(crowd.statuses), f"{before:,} bytes before, {after:,} after")  # noqa: T201

    assert crowd.wrong == []
    allowed = {
        "good": {200, 429},
        "many": {200, 429},
        "oversized": {413},
        "malformed": {400},
        "wrong token": {401},
        "leaves": {0},
        "drips": {200, 429},
    }
    assert all(status in allowed[kind] for kind, status in crowd.statuses), crowd.statuses
    assert crowd.statuses["good", 200] > 100
    assert health["waiting"] == 0
    assert after < before + 50_000_000
