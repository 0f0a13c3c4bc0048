"""``llmkit demo`` as a person starts it: what it takes, and a page that a client of Gradio's asks."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the extra demo is not installed")

from gradio_client import Client

from tests.fixtures.hub import SmallHub
from tests.serving.serving import Server

TEXT = "I expected the worst, and it was a wonderful evening."


# Writes down every address that the process asks for, but this machine's own.
WATCHING = """
import os, sys

def watch(event, given):
    if event in ("socket.getaddrinfo", "socket.connect"):
        where = str(given[0] if event.endswith("info") else given[1])
        if not any(here in where for here in ("127.0.0.1", "localhost", "'::1'", "/")):
            with open(os.environ["WATCHED"], "a") as file:
                file.write(where + "\\n")

sys.addaudithook(watch)
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched")
    (folder / "sitecustomize.py").write_text(WATCHING)
    return folder


@pytest.fixture(scope="module")
def page(tmp_path_factory, watched):
    folder = tmp_path_factory.mktemp("uploads")
    path = f"{watched}{os.pathsep}{Path.cwd()}"
    env = {"TMPDIR": str(folder), "PYTHONPATH": path, "WATCHED": str(watched / "asked")}
    with Server("sentiment-analysis", "--embedded", command="demo", env=env) as server:
        yield server
    assert list(folder.glob("llmkit-demo-*")) == []  # what was uploaded is gone with the page


def test_the_page_answers_as_the_command_does(page, llmkit, watched):
    client = Client(page.url, verbose=False, analytics_enabled=False)
    labels, line = client.predict(TEXT, "", api_name="/answer")
    offline = llmkit("pipeline", "sentiment-analysis", TEXT, "--embedded", "-p", "top_k=null", "-q")
    assert f"{line}\n".encode() == offline.stdout
    assert not (watched / "asked").exists()  # by then, nothing was asked of another machine
    assert labels["label"] == max(offline.json, key=lambda row: row["score"])["label"]


def test_the_page_may_load_nothing_from_elsewhere(page):
    answer = page.client.get("/")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_another_site_cannot_ask(page):
    answer = page.client.get("/config", headers={"Origin": "http://example.org"})
    assert answer.headers.get("access-control-allow-origin") != "http://example.org"


def test_the_page_is_not_shown_under_another_name(page):
    """A site's own name can be made to point to this machine; the browser says by which name it asks."""
    port = page.url.rpartition(":")[2]
    for path in ("/", "/config"):
        refused = page.client.get(path, headers={"Host": f"attacker.example:{port}"})
        assert refused.status_code == 403
        assert "--allow-host" in refused.json()["error"]["hint"]
    assert page.client.get("/config", headers={"Host": f"localhost:{port}"}).status_code == 200


def test_a_file_of_this_machine_is_not_given(page):
    answer = page.client.get("/gradio_api/file=/etc/passwd")
    assert answer.status_code in (403, 404)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sentiment-analysis", "--host", "0.0.0.0"), "--auth"),
        (("sentiment-analysis", "--auth", "me"), "NAME:PASSWORD"),
        (("sentiment-analysis", "--auth", ""), "--auth is empty"),
        (("sentiment-analysis", "--port", "70000"), "65535"),
        (("sentiment-analysis", "--task", "fill-mask"), "said twice"),
        (("runs/reviews", "--model", "minilm"), "said twice"),
        (("minilm", "--task", "fill-mas"), "fill-mask"),
        (("minilm", "--device", "gpuu"), "gpuu"),
        (("minilm", "--space", "x", "--trust-remote-code"), "--trust-remote-code"),
        (("minilm", "--allow-host", ""), "--allow-host"),
    ],
)
def test_usage(llmkit, arguments, said):
    done = llmkit("demo", *arguments)
    assert (done.code, done.stdout) == (2, b"")
    assert said in done.stderr


def test_a_model_of_the_hub_is_named_and_its_card_tells_what_it_is_for(llmkit, tiny, tmp_path):
    model = shutil.copytree(tiny("fill-mask"), tmp_path / "model")
    (model / "README.md").write_text("---\nlicense: mit\npipeline_tag: feature-extraction\n---\n# Its card\n")
    space = tmp_path / "space"
    with SmallHub() as hub:
        hub.add("acme/words", model)
        done = llmkit("demo", "acme/words", "--space", space, env=hub.environment(tmp_path), hub=True)
        assert hub.count("*.safetensors", "GET") == 0  # the Space fetches the weights, nobody here
    assert done.code == 0, done.stderr
    assert done.lines[0]["task"] == "feature-extraction"
    assert "'feature-extraction', 'acme/words'" in (space / "app.py").read_text()
    head = (space / "README.md").read_text()
    assert "license: mit" in head
    assert "models:\n- acme/words" in head
    assert not (space / "model").exists()


def test_a_port_that_is_taken_is_said_before_the_model_is_loaded(llmkit):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = llmkit("demo", "minilm", "--port", str(taken.getsockname()[1]))
    assert done.code == 1
    assert "cannot listen" in done.stderr


def test_without_gradio_the_extra_is_named(llmkit, tmp_path):
    hidden = tmp_path / "sitecustomize.py"
    hidden.write_text(
        "import importlib.util as u\nfound = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'gradio' else found(name, *more)\n"
    )
    done = llmkit("demo", "minilm", env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{Path.cwd()}"}, fresh=True)
    assert done.code == 1
    assert "hf-llmkit[demo]" in done.stderr
