"""``llmkit serve`` as a process: its token, its limits, its socket, its end, and the call that starts it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.fixtures.command import TIMEOUT, Command, base_environment
from tests.serving.serving import MESSAGES, Server


@pytest.fixture(scope="module")
def narrow(models: dict[str, str]) -> Iterator[Server]:
    limits = ("--max-waiting", "2", "--timeout", "2", "--token", "s3cret")
    with Server(f"chat={models['text-generation']}", *limits) as started:
        started.client.headers["Authorization"] = "Bearer s3cret"
        yield started


def test_the_token_is_wanted(narrow):
    for wrong in ("Bearer wrong", "s3cret", "Basic s3cret", ""):
        assert narrow.client.get("/v1/models", headers={"Authorization": wrong}).status_code == 401
    assert narrow.client.get("/v1/models").status_code == 200
    assert httpx.get(f"{narrow.url}/health").status_code == 200


LONG = {"messages": MESSAGES, "max_tokens": 8192, "temperature": 0}


def test_a_slow_sender_is_not_waited_for(narrow):
    host, port = narrow.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_the_head_of_a_request_is_not_waited_for(narrow):
    host, port = narrow.url.removeprefix("http://").split(":")
    for head in (b"", b"POST /v1/chat/completions HTTP/1.1\r\nHost: "):
        with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection:
            connection.sendall(head)
            assert connection.recv(100).startswith(b"HTTP/1.1 408")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection:  # and not the second one
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /hea")
        while not (said := connection.recv(1000)).startswith(b"HTTP/1.1"):
            assert said
        assert said.startswith(b"HTTP/1.1 408")


_HOST = b"Host: localhost\r\n"
_POST = b"POST /v1/chat/completions HTTP/1.1\r\n" + _HOST + b"Content-Type: application/json\r\n"
BROKEN = {
    "a bad size of a chunk": (400, _POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "two lengths": (400, _POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n"),
    "a length below nought": (400, _POST + b"Content-Length: -1\r\n\r\n"),
    "no host": (400, b"GET /health HTTP/1.1\r\n\r\n"),
    "TLS": (400, b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03 random\r\n\r\n"),
    "a long head": (431, b"GET /health HTTP/1.1\r\n" + _HOST + b"X: " + b"a" * 2_000_000 + b"\r\n\r\n"),
    "many lines": (431, b"GET /health HTTP/1.1\r\n" + _HOST + b"X: abcdef\r\n" * 50_000 + b"\r\n"),
}


def answer_to(sent: bytes, server: Server) -> bytes:
    """Return what a server says to bytes, to the end of the connection."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_http_is_refused_as_all_else_is(narrow, case):
    """And whoever sends too much sees why, before the connection ends."""
    status, sent = BROKEN[case]

    head, _, body = answer_to(sent, narrow).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-type: application/json" in head
    error = json.loads(body)["error"]
    assert (error["code"], error["type"]) == (status, "invalid_request_error")
    assert "bytearray" not in error["message"]


def test_a_web_socket_is_no_reason_to_install_anything(narrow):
    before = len(narrow.said)
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x"}

    assert narrow.client.get("/health", headers=upgrade).status_code == 200
    answer_to(b"the end\r\n\r\n", narrow)  # which the log has, after all that it had before
    deadline = time.monotonic() + TIMEOUT
    while not any("Invalid HTTP" in line for line in narrow.said[before:]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not [line for line in narrow.said if "upgrade" in line or "pip install" in line]


def test_another_name_of_a_task_is_a_path_too(models, tmp_path):
    """And a socket is the user's alone, and one that is in use is nobody else's."""
    path = tmp_path / "socket"
    command = [sys.executable, "-m", "llmkit", "serve", "--socket", str(path)]
    model = models["text-classification"]
    environment = base_environment()
    call = [*command, f"sentiment-analysis={model}"]
    with subprocess.Popen(call, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert str(path) in process.stderr.readline()
        assert path.stat().st_mode & 0o777 == 0o600
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://x") as client:
            paths = ("/sentiment-analysis", "/text-classification")
            answers = [client.post(each, json={"inputs": "x"}).json() for each in paths]
        second = subprocess.run(
            call, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        process.terminate()
        assert process.wait(TIMEOUT) == 143

    assert answers[0] == answers[1]
    assert second.returncode == 1
    assert "another server listens there" in second.stderr
    assert not path.exists()


@pytest.mark.slow  # a server of its own
def test_a_model_says_what_it_is_for(models):
    with Server("--model", models["text-classification"]) as started:
        assert started.client.post("/text-classification", json={"inputs": "x"}).status_code == 200


@pytest.mark.slow
def test_sigterm_finishes_what_was_begun(models):
    with Server(f"text-classification={models['text-classification']}") as server:
        answers = []
        body = {"inputs": ["word " * 100] * 512}
        asking = threading.Thread(
            target=lambda: answers.append(server.client.post("/text-classification", json=body).status_code)
        )
        asking.start()
        while "llmkit_waiting_requests 0" in server.client.get("/metrics").text and not answers:
            time.sleep(0.001)
        server.process.send_signal(signal.SIGTERM)
        asking.join(TIMEOUT)

        assert answers == [200]
        assert server.process.wait(TIMEOUT) == 143


# The call


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name tasks"),
        (["text-classification", "sentiment-analysis"], "named twice"),
        (["sumarization"], "summarization"),
        (["fill-mask="], "TASK=MODEL"),
        (["fill-mask", "--host", "0.0.0.0"], "--token"),
        (["fill-mask", "--host", ""], "--host is empty"),
        (["fill-mask", "--token", ""], "--token is empty"),
        (
            ["fill-mask", "--host", "ä..b", "--token", "0123456789abcdef0123456789abcdef"],
            "--host ä..b: no host",
        ),
        (["fill-mask", "--port", "70000"], "--port"),
        (["fill-mask", "--timeout", "0"], "--timeout"),
        (["fill-mask", "--timeout", "1e999"], "--timeout inf"),
        (["fill-mask", "--socket", "/etc/passwd"], "a file is there"),
        (["fill-mask", "--socket", "s.sock", "--allow-host", "box"], "--allow-host is not for --socket"),
        (["fill-mask", "--allow-host", "http://box"], "--allow-host http://box"),
    ],
)
def test_a_wrong_call(llmkit: Command, arguments, said):
    done = llmkit("serve", *arguments)

    assert done.code == 2
    assert said in done.stderr


def test_a_port_that_is_taken(llmkit: Command):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = llmkit("serve", "fill-mask", "--port", str(taken.getsockname()[1]))

    assert done.code == 1
    assert "cannot listen" in done.stderr
