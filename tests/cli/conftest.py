"""What the tests of the commands can ask for: a terminal, texts, a cache, calls that are wrong."""

from __future__ import annotations

import pexpect
import pytest

from tests.cli.bad_input import model_of
from tests.cli.embedded import TEXTS
from tests.cli.running import COMMAND, TIMEOUT
from tests.fixtures.command import base_environment


@pytest.fixture
def terminal(llmkit):
    """Start the command on a terminal of its own: as a new process if `fresh`, or by a line of the shell."""
    started = []

    def start(*arguments, env=None, shell=None, fresh=False):
        if shell is None and not fresh:
            started.append(llmkit.on_terminal(*arguments, env={"TERM": "xterm-256color"} | (env or {})))
            return started[-1]
        words = [str(argument) for argument in arguments]
        command = [*COMMAND, *words] if shell is None else ["bash", "-c", shell, "bash", *COMMAND, *words]
        settings = {key: value for key, value in base_environment().items() if key != "COLUMNS"}
        child = pexpect.spawn(
            command[0],
            command[1:],
            env=settings | {"TERM": "xterm-256color"} | (env or {}),
            timeout=TIMEOUT,
            dimensions=(30, 100),
            encoding="utf-8",
            codec_errors="replace",
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.close(force=True)


@pytest.fixture
def many_texts(tmp_path):
    """A file that takes long enough to be interrupted."""
    file = tmp_path / "texts.txt"
    file.write_text("".join(f"the film number {number} was good\n" for number in range(3000)))
    return file


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The setting of a cache of the test module's own."""
    return {"LLMKIT_CACHE": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture
def call(llmkit, tiny, tmp_path):
    """Run a case's call in a folder that holds its files."""

    def run(case):
        folder = tmp_path / "files"
        folder.mkdir()
        for name, content in case.files.items():
            (folder / name).write_bytes(content)
        words = case.arguments.split() if isinstance(case.arguments, str) else case.arguments
        arguments = [model_of(tiny, word.replace("{/}", str(folder))) for word in words]
        return llmkit("pipeline", *arguments, stdin=case.stdin, cwd=tmp_path)

    return run


@pytest.fixture(scope="module")
def bert(tiny):
    """A model to embed with."""
    return tiny("feature-extraction")


@pytest.fixture(scope="module")
def vectors(bert):
    """The vectors of `TEXTS` by that model, from the Python API."""
    from llmkit import embed

    return embed(TEXTS, str(bert))
