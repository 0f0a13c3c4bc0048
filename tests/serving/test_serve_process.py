"""``llmkit serve`` as a process: its token, its limits, its socket, its end, and the call that starts it."""

from __future__ import annotations

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
        (["fill-mask", "--port", "70000"], "--port"),
        (["fill-mask", "--timeout", "0"], "--timeout"),
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
