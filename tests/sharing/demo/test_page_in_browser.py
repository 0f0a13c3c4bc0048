"""The page of a demo and that of a Space in a real browser, typed into: `make browser` installs what it takes."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fixtures.command import TIMEOUT, base_environment
from tests.serving.serving import Server

pytestmark = pytest.mark.browser
TEXT = "I expected the worst, and it was a wonderful evening."
HOSTILE = "<img src=x onerror='window.hacked = 1'> <script>window.hacked = 2</script> & \"quotes\" 😀 שלום"
WAIT = TIMEOUT * 1000


@dataclass
class Shown:
    """A page that is open, and what it asked for."""

    page: Any
    address: str
    asked: list[str] = field(default_factory=list)

    def type(self, **fields: str) -> None:
        for name, text in fields.items():
            self.page.fill(f"#field-{name} textarea, #field-{name} input", text)

    def run(self) -> str:
        """Press Run and return the line of JSON of the answer."""
        before = self.json()
        self.page.click("#run")
        self.page.wait_for_function(
            "before => { const found = document.querySelector('#json textarea');"
            " return found && found.value && found.value !== before }",
            arg=before,
            timeout=WAIT,
        )
        return self.json()

    def json(self) -> str:
        self.open("#as-json", "#json textarea")
        return str(self.page.input_value("#json textarea"))

    def failed(self, request: Any) -> None:
        """Take back what the page's own policy did not let out."""
        if "csp" in str(request.failure).lower():
            self.asked.remove(request.url)

    def open(self, accordion: str, inside: str) -> None:
        if not self.page.is_visible(inside):
            self.page.click(f"{accordion} button >> nth=0")
            self.page.wait_for_selector(inside, timeout=WAIT)

    @property
    def outside(self) -> list[str]:
        """The addresses of other machines that anything was asked of."""
        return [
            url for url in self.asked if urlsplit(url).scheme.startswith("http") and self.address not in url
        ]


@pytest.fixture
def show(chromium) -> Iterator[Callable[..., Shown]]:
    made = []

    def show_it(address: str) -> Shown:
        context = chromium.new_context(viewport={"width": 1200, "height": 900}, locale="en-US")
        page = context.new_page()
        shown = Shown(page, address)
        made.append(context)
        page.on("request", lambda request: shown.asked.append(request.url))
        page.on("requestfailed", shown.failed)
        page.goto(address)
        page.wait_for_selector("#run, #chat", timeout=WAIT)
        return shown

    yield show_it
    for context in made:
        context.close()


def command_says(llmkit, *arguments: str) -> str:
    done = llmkit("pipeline", *arguments, "-q")
    assert done.code == 0, done.stderr
    return done.text.rstrip("\n")


def kept(shown: Shown, name: str) -> None:
    """Take a picture where somebody wants to look at it."""
    folder = os.environ.get("LLMKIT_SCREENSHOTS")
    if folder:
        shown.page.screenshot(path=Path(folder) / f"{name}.png")


@pytest.fixture(scope="module")
def sentiment() -> Iterator[Server]:
    with Server("sentiment-analysis", "--embedded", command="demo") as server:
        yield server


def test_what_is_typed_is_answered_as_the_command_answers(show, sentiment, llmkit):
    shown = show(sentiment.url)
    shown.type(text=TEXT)
    line = shown.run()
    assert line == command_says(llmkit, "sentiment-analysis", TEXT, "--embedded", "-p", "top_k=null")
    best = max(json.loads(line), key=lambda row: row["score"])
    assert shown.page.inner_text("#answer h2").strip() == best["label"]
    kept(shown, "demo")
    assert shown.outside == []


def test_an_example_fills_the_field(show, sentiment):
    shown = show(sentiment.url)
    shown.page.click("text=nobody gives back to me")
    shown.page.wait_for_function(
        "() => document.querySelector('#field-text textarea').value.includes('Two hours')", timeout=WAIT
    )
    assert "score" in shown.run()


def test_what_is_wrong_is_said_on_the_page(show, sentiment):
    shown = show(sentiment.url)
    shown.page.click("#run")
    shown.page.wait_for_selector("text=no value for 'text'", timeout=WAIT)


def test_hostile_texts_and_cards_stay_text(show, tiny, tmp_path):
    model = shutil.copytree(tiny("token-classification"), tmp_path / "model")
    (model / "README.md").write_text(
        f"---\npipeline_tag: token-classification\n---\n# Card\n{HOSTILE}\n\n![](http://example.org/seen.png)\n"
    )
    with Server(str(model), "--title", HOSTILE, command="demo") as server:
        shown = show(server.url)
        shown.type(text=HOSTILE)
        shown.run()
        shown.open("#card", "#card h1")
        assert "window.hacked" in shown.page.inner_text("h1 >> nth=0")
        assert shown.page.evaluate("window.hacked") is None
        assert shown.outside == []


def test_a_question_and_its_context(show, llmkit):
    question, context = "Who wrote it?", "Ada Lovelace wrote the first program."
    with Server("question-answering", "--embedded", command="demo") as server:
        shown = show(server.url)
        shown.type(question=question, context=context)
        line = shown.run()
        asked = ("question-answering", "--question", question, "--context", context, "--embedded")
        assert line == command_says(llmkit, *asked)
        assert shown.page.input_value("#answer textarea, #answer input") == json.loads(line)["answer"]
        kept(shown, "question")


def test_a_picture_is_uploaded(show, tiny, llmkit, tmp_path):
    from tests.fixtures.media import write_media

    cat = write_media(tmp_path)["cat"]
    model = tiny("image-classification")
    with Server(str(model), command="demo") as server:
        shown = show(server.url)
        shown.page.set_input_files("#field-image input[type=file]", str(cat))
        shown.page.wait_for_selector("#field-image img", timeout=WAIT)
        line = shown.run()
        assert line == command_says(llmkit, "image-classification", str(cat), "-m", str(model))
        assert shown.outside == []


def test_a_chat(show, tiny):
    with Server("conversational", "--model", str(tiny("conversational")), command="demo") as server:
        shown = show(server.url)
        box = shown.page.locator("textarea:visible").first
        box.fill("Hello there")
        box.press("Enter")
        shown.page.wait_for_selector("#chat .bot", timeout=WAIT)
        assert "Hello there" in shown.page.inner_text("#chat")
        assert shown.outside == []


def test_a_spaces_folder_runs_as_it_stands(show, llmkit, tmp_path):
    folder = tmp_path / "space"
    written = llmkit("demo", "sentiment-analysis", "--embedded", "--space", folder, "-q")
    assert written.code == 0, written.stderr
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=folder,
        env=base_environment() | {"GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        _wait_for(port, process)
        shown = show(f"http://127.0.0.1:{port}")
        shown.type(text=TEXT)
        line = shown.run()
        kept(shown, "space")
    finally:
        process.terminate()
        process.wait(TIMEOUT)
    assert line == command_says(llmkit, "sentiment-analysis", TEXT, "--embedded", "-p", "top_k=null")


def _wait_for(port: int, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + TIMEOUT
    while time.monotonic() < until:
        assert process.poll() is None, process.stdout.read()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError("the Space does not listen")
