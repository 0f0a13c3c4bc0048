"""The examples in README.md and docs/ run and print what they say.

In a ```console block, a line that begins with `$` is a command, lines with `>` right below go on with it, and the lines
after them are what it prints, standard error first; `…` stands for anything. A page of SLOW_PAGES is run by `make
torture`, from its top: later commands take up what earlier ones made. The ```python blocks of a page are one program,
which must run. What a ```bash, ```make or ```text block and the lines indented by four spaces show of `llmkit` is not
run: the options of each command must exist.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmkit.cli.main import COMMANDS, subcommand
from tests.fixtures.command import Command
from tests.fixtures.shell import warm_shell

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# It trains models; what else its commands show is tried more quickly elsewhere.
SLOW_PAGES = ("lecture.md",)
# Programs that a recipe needs and a machine may lack.
OTHERS = ("curl", "jq", "make", "parallel", "split", "xargs")
# Modules that an example needs and an installation may lack, by the words that show it.
MODULES = (
    ("onnx", "onnxruntime"),
    ("onnx", "transformers.exporters.runners"),
    ("import lancedb", "lancedb"),
)
# Commands of a page that its Python takes up, by how they begin.
BEFORE_PYTHON = {
    "export.md": ("llmkit export minilm:sentiment",),
    "search.md": ("printf", "llmkit embed"),
}
# Python that is not run, and why.
NOT_RUN = {
    "serve.md": "it asks a server at port 8000; tests/serving/test_serve.py asks one with the same client"
}
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


def missing_modules(text: str) -> list[pytest.MarkDecorator]:
    return [
        pytest.mark.skipif(not is_installed(module), reason=f"{module} is not installed")
        for shown, module in MODULES
        if shown in text
    ]


def is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


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
            marks += missing_modules(command)
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


@pytest.fixture(scope="module")
def ran() -> set[str]:
    """The commands that have been run in the folder."""
    return set()


def run(command: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        env=environment,
        cwd=folder,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize(("command", "output"), examples())
def test_example_prints_what_the_page_says(
    command: str, output: str, folder: Path, environment: dict[str, str], ran: set[str]
) -> None:
    # Standard error first: notes and warnings come while the command runs, results are kept for the end.
    done = run(command, folder, environment)
    ran.add(command)
    printed = (done.stderr + done.stdout).strip()
    pattern = ".*?".join(re.escape(part) for part in output.strip().split("…"))
    assert re.fullmatch(pattern, printed, re.DOTALL), f"\nthe page:\n{output}\nthe command:\n{printed}"


# Python

PROGRAM = """
import json, sys
names = {"__name__": "__main__"}
for page, line, source in json.loads(sys.argv[1]):
    exec(compile("\\n" * line + source, page, "exec"), names)
"""


def programs() -> list[pytest.param]:
    """The Python of each page: its blocks, with the page and the line of each, as a traceback names them."""
    found: dict[str, list[tuple[str, int, str]]] = {}
    for place, block in blocks("python"):
        page, _, line = place.partition(":")
        found.setdefault(page, []).append((str(ROOT / "docs" / page), int(line), block))
    return [
        pytest.param(page, parts, id=page, marks=missing_modules("".join(part[2] for part in parts)))
        for page, parts in found.items()
        if page not in NOT_RUN
    ]


def commands_before(page: str) -> list[str]:
    """The commands of a page that its Python takes up, each the first that begins so."""
    shown = [
        divided(part)[0]
        for place, block in blocks("console")
        if place.startswith(f"{page}:")
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    ]
    return [next(each for each in shown if each.startswith(start)) for start in BEFORE_PYTHON.get(page, ())]


@pytest.mark.parametrize(("page", "parts"), programs())
def test_python_runs(
    page: str,
    parts: list[tuple[str, int, str]],
    llmkit: Command,
    folder: Path,
    environment: dict[str, str],
    ran: set[str],
) -> None:
    for command in commands_before(page):
        if command not in ran:
            done = run(command, folder, environment)
            assert done.returncode == 0, done.stderr
            ran.add(command)
    ended = llmkit.python(PROGRAM, json.dumps(parts), env=environment, cwd=folder, hub=False)
    assert ended.code == 0, ended.stderr


def test_python_that_raises_is_a_failure(llmkit: Command, folder: Path, environment: dict[str, str]) -> None:
    parts = [("docs/page.md", 4, "texts = []\n"), ("docs/page.md", 9, "\ntexts.lacking\n")]
    ended = llmkit.python(PROGRAM, json.dumps(parts), env=environment, cwd=folder, hub=False)
    assert ended.code == 1
    assert 'File "docs/page.md", line 11' in ended.stderr and "AttributeError" in ended.stderr


def test_what_is_not_run_is_there_and_compiles() -> None:
    """So that no row outlives its block."""
    pages = {place.partition(":")[0] for place, _ in blocks("python")}
    assert {*NOT_RUN, *BEFORE_PYTHON} <= pages
    for place, block in blocks("python"):
        compile(block, place, "exec")


# Options

SHOWN = re.compile(r"(?<![\w./-])llmkit(?![\w./-])")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def lines_with_commands() -> list[pytest.param]:
    """Each line that shows a command which is not run."""
    shown = [
        (place, line)
        for language in ("bash", "make", "text")
        for place, block in blocks(language)
        for line in block.replace("\\\n", " ").splitlines()
    ]
    for page in PAGES:
        bare = FENCED.sub("", page.read_text(encoding="utf-8"))
        shown += [(page.name, line) for line in bare.splitlines() if line.startswith("    ")]
    return [
        pytest.param(line, id=f"{place} {line.strip()[:40]}")
        for place, line in shown
        if SHOWN.search(line.partition(" #")[0])
    ]


def commands_of(line: str) -> Iterator[list[str]]:
    """The words after each `llmkit` of a line: after a pipe, a `do`, an `xargs`, within quotes and `$(…)` too."""
    plain = re.sub(
        r"[][`]|(?<=\S)\|(?=\S)", " ", line
    )  # a page's own signs: what may be left out, one of several
    reader = shlex.shlex(plain, posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    for ends, words in itertools.groupby(reader, lambda word: set(word) <= set("();|&")):
        if ends:
            continue
        command = list(words)
        for word in command:
            if " " in word and SHOWN.search(word):
                yield from commands_of(word)
        if "llmkit" in command:
            yield command[command.index("llmkit") + 1 :]


def options_of(words: list[str]) -> set[str]:
    """The options of the command that the words name; llmkit's own where they name none."""
    if not words or words[0] not in COMMANDS:
        assert not words or not words[0][:1].isalpha(), f"{words[0]} is not a command"
        return {"--help", "--version", "--install-completion", "--show-completion"}
    command = subcommand(words[0])
    inner = getattr(command, "commands", {})
    if words[1:] and words[1] in inner:
        command = inner[words[1]]
    return {"--help"}.union(*((*each.opts, *each.secondary_opts) for each in command.params))


@pytest.mark.parametrize("line", lines_with_commands())
def test_command_has_options_that_exist(line: str) -> None:
    commands = list(commands_of(line))
    assert commands, "no command is found in the line"
    for words in commands:
        given = {word.partition("=")[0] for word in words if re.match("--?[a-z]", word)}
        assert given <= options_of(words), f"{given - options_of(words)} is not an option: llmkit {words}"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("tail -f log | llmkit tasks -q  # the day's", [["tasks", "-q"]]),
        ("parallel -j 4 'llmkit embed -i {} -q' ::: *.txt", [["embed", "-i", "{}", "-q"]]),
        ("find . | xargs -n 1 llmkit embed -i; ls -l", [["embed", "-i"]]),
        (
            'for f in *; do llmkit tasks "$(llmkit runs -q)"; done',
            [["runs", "-q"], ["tasks", "$(llmkit runs -q)"]],
        ),
        ("n=$(llmkit params a --total) && ls", [["params", "a", "--total"]]),
        ("    llmkit embed TEXT [TEXT]... [--pooling mean|cls]", None),
    ],
)
def test_commands_are_found_within_a_line(line: str, found: list[list[str]] | None) -> None:
    assert list(commands_of(line)) == (
        found or [["embed", "TEXT", "TEXT", "...", "--pooling", "mean", "cls"]]
    )


def test_every_command_has_a_page() -> None:
    for name in COMMANDS:
        assert (ROOT / "docs" / f"{name}.md").is_file()
        assert f"`llmkit {name}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_option_is_documented_by_its_help() -> None:
    for name in COMMANDS:
        for parameter in subcommand(name).params:
            assert getattr(parameter, "help", None), f"{name}: {parameter.name} has no help"
