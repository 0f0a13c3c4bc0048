"""The examples in README.md and docs/ run and print what they say.

In a ```console block, a line that begins with `$` is a command, lines with `>` right below go on with it, and the lines
after them are what it prints, standard error first; `…` stands for anything. A page of SLOW_PAGES is run by `make
torture`, from its top: later commands take up what earlier ones made. In a ```bash block nothing is printed: the
options of each command must exist. A ```python block must compile.
"""

from __future__ import annotations

import ast
import functools
import itertools
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.shell import warm_shell

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# It trains models; what else its commands show is tried more quickly elsewhere.
SLOW_PAGES = ("lecture.md",)
# Programs that a recipe needs and a machine may lack.
OTHERS = ("curl", "jq", "make", "parallel", "split", "xargs")
PATIENCE = 900  # seconds: a training on a busy machine
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    """Every block of a language, with the page and line it stands at."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            if match[1] == language:
                line = text.count("\n", 0, match.start()) + 1
                found.append((f"{page.name}:{line}", match[2]))
    return found


def divided(part: str) -> tuple[str, str]:
    """A command, and what it prints."""
    first, *rest = part.splitlines()
    more = list(itertools.takewhile(lambda line: line.startswith("> ") or line == ">", rest))
    return "\n".join([first, *(line[2:] for line in more)]), "\n".join(rest[len(more) :])


def examples() -> list[pytest.param]:
    """Each command of the console blocks with what it should print."""
    found = []
    for place, block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, output = divided(part)
            marks = [pytest.mark.slow] if place.partition(":")[0] in SLOW_PAGES else []
            marks += [
                pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")
                for program in OTHERS
                if re.search(rf"\b{program}\b", command)
            ]
            found.append(pytest.param(command, output, id=f"{place} {command[:40]}", marks=marks))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("docs")
    shutil.copytree(ROOT / "configs", place / "configs")
    return place


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What a page's shell runs in: its `llmkit` is run by a warm worker, so that no example pays for imports."""
    with warm_shell(tmp_path_factory.mktemp("shell")) as found:
        yield found


@pytest.mark.parametrize(("command", "output"), examples())
def test_example_prints_what_the_page_says(
    command: str, output: str, folder: Path, environment: dict[str, str]
) -> None:
    # Standard error first: notes and warnings come while the command runs, results are kept for the end.
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        env=environment,
        cwd=folder,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    printed = (done.stderr + done.stdout).strip()
    pattern = ".*?".join(re.escape(part) for part in output.strip().split("…"))
    assert re.fullmatch(pattern, printed, re.DOTALL), f"\nthe page:\n{output}\nthe command:\n{printed}"


def commands_of(block: str) -> list[str]:
    joined = block.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip().startswith("llmkit ")]


@functools.cache
def help_of(name: str) -> str:
    call = [sys.executable, "-m", "llmkit", name, "--help"]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "command",
    [pytest.param(c, id=f"{place} {c[:40]}") for place, block in blocks("bash") for c in commands_of(block)],
)
def test_command_has_options_that_exist(command: str) -> None:
    words = command.split()
    help_text = help_of(words[1])
    for option in re.findall(r"(?<=\s)(--?[a-z][a-z-]*)", command.partition(" #")[0]):
        assert re.search(rf"(^|[\s,]){re.escape(option)}\b", help_text), (
            f"{option} is not an option of {words[1]}"
        )


@pytest.mark.parametrize(("place", "block"), blocks("python"))
def test_python_compiles(place: str, block: str) -> None:
    ast.parse(block)


def test_every_command_has_a_page() -> None:
    from llmkit.cli.main import COMMANDS

    for name in COMMANDS:
        assert (ROOT / "docs" / f"{name}.md").is_file()
        assert f"`llmkit {name}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_option_is_documented_by_its_help() -> None:
    import typer.main

    from llmkit.cli.main import COMMANDS

    for name in COMMANDS:
        import importlib

        command = typer.main.get_command(importlib.import_module(COMMANDS[name][0]).app)
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{name}: {parameter.name} has no help"
