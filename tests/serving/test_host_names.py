"""Which names a server answers to: pages of other sites can have theirs point to this machine."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from llmkit.errors import UsageError
from llmkit.serving.host_names import LOOPBACK, address, name_in, names_answered_to, names_given
from tests.fixtures.command import TIMEOUT
from tests.serving.serving import Server

ATTACKER = "attacker.example"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:8000", "localhost"),
        ("localhost.:8000", "localhost"),
        ("127.0.0.1:8000", "127.0.0.1"),
        ("[::1]:8000", "::1"),
        ("[::1]", "::1"),
        ("gpu-box.example.org", "gpu-box.example.org"),
        ("localhost:", "localhost"),
        ("", None),
        (":8000", None),
        ("::1", None),
        ("localhost:attacker.example", None),
        ("localhost@attacker.example", None),
        ("localhost..", None),
        ("localhost, attacker.example", None),
        ("http://localhost", None),
        ("localhost\n", None),
        ("[localhost", None),
    ],
)
def test_the_name_in_what_a_request_says(host: str, name: str | None) -> None:
    assert name_in(host) == name


def test_the_names_that_a_call_gives() -> None:
    assert names_given(["Box.example.org", "box:8000", "::1", "[::1]"]) == (
        "box.example.org", "box", "::1", "::1",
    )  # fmt: skip
    for wrong in ("", "*", "http://box", "box/path"):
        with pytest.raises(UsageError, match="--allow-host"):
            names_given([wrong])


@pytest.mark.parametrize(
    ("host", "bound", "given", "names"),
    [
        ("127.0.0.1", "127.0.0.1", (), {*LOOPBACK}),
        ("127.0.0.2", "127.0.0.2", (), {*LOOPBACK, "127.0.0.2"}),
        ("Box", "127.0.1.1", ("b.example",), {*LOOPBACK, "box", "127.0.1.1", "b.example"}),
        ("0.0.0.0", "0.0.0.0", (), None),
        ("::", "::", ("b.example",), {"b.example"}),
    ],
)
def test_the_names_that_a_server_answers_to(
    host: str, bound: str, given: tuple[str, ...], names: set[str] | None
) -> None:
    assert names_answered_to(host, bound, given) == names


def test_an_address_is_as_a_browser_wants_it() -> None:
    assert address("::1", 80) == "http://[::1]:80"
    assert address("localhost", 80) == "http://localhost:80"


# The server, asked by names


@pytest.fixture(scope="module")
def model(tiny: Callable[[str], Path]) -> str:
    return f"text-classification={tiny('text-classification')}"


@pytest.fixture(scope="module")
def server(model: str) -> Iterator[Server]:
    with Server(model, "--allow-host", "models.example.org") as started:
        yield started


def ask(server: Server, host: str, path: str = "/text-classification") -> httpx.Response:
    return server.client.post(path, json={"inputs": "a fine day"}, headers={"Host": host})


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:{port}", "127.0.0.1:1", "[::1]:{port}", "MODELS.example.org"]
)
def test_it_answers_to_its_own_names(server: Server, host: str) -> None:
    port = server.url.rpartition(":")[2]
    assert ask(server, host.replace("{port}", port)).status_code == 200


@pytest.mark.parametrize("host", [ATTACKER, "localhost.attacker.example", "example.org", "192.0.2.1", ""])
def test_it_does_not_answer_to_others(server: Server, host: str) -> None:
    refused = ask(server, host)
    assert refused.status_code == 403
    error = refused.json()["error"]
    assert error.keys() == {"message", "hint", "type", "code"}
    assert repr(host) in error["message"]
    assert "--allow-host" in error["hint"]
    for path in ("/health", "/metrics", "/docs", "/openapi.json", "/v1/models", "/nowhere"):
        assert server.client.get(path, headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("hosts", ["", f"Host: localhost\r\nHost: {ATTACKER}\r\n"])
def test_it_does_not_answer_to_none_or_to_several(server: Server, hosts: str) -> None:
    """HTTP/1.0 knows no Host; what there is to read a request may refuse two by itself."""
    place = server.url.removeprefix("http://").split(":")
    with socket.create_connection((place[0], int(place[1])), timeout=TIMEOUT) as connection:
        connection.sendall(f"GET /health HTTP/1.0\r\n{hosts}\r\n".encode())
        assert connection.recv(12).partition(b" ")[2] in (b"403", b"400")


def test_refusals_are_counted(server: Server) -> None:
    ask(server, ATTACKER)
    assert 'path="/text-classification",status="403"' in server.client.get("/metrics").text


@pytest.mark.parametrize(
    ("given", "statuses"),
    [
        pytest.param((), {ATTACKER: 200, "localhost": 200}, marks=pytest.mark.slow),
        (
            ("--allow-host", "models.example.org", "--allow-host", "0.0.0.0"),
            {"models.example.org": 200, "0.0.0.0": 200, ATTACKER: 403, "localhost": 403},
        ),
    ],
)
def test_at_another_address_the_user_says_which_names(
    model: str, given: tuple[str, ...], statuses: dict[str, int]
) -> None:
    with Server(model, "--host", "0.0.0.0", "--token", "s3cret", *given) as server:
        server.client.headers["Authorization"] = "Bearer s3cret"
        assert {host: ask(server, host).status_code for host in statuses} == statuses
