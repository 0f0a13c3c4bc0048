"""Hundreds of bad inputs, each through the real command or server: one message, an honest code, no harm done."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.corpus.bounds import limited_memory
from tests.corpus.cases import Case, arguments_of, cases, kinds, write_files
from tests.corpus.contents import content_of
from tests.fixtures.command import Command, Completed

LEAST = 500
MANY = 90  # cases of a kind
SECONDS = 20  # no case takes a tenth of that: what takes longer hangs
MOST_MEMORY = 2 << 30  # bytes, torch and transformers included
MOST_LINES = 25
LONGEST_MESSAGE = 2500  # characters
REQUESTS = ("requests",)
CONTRACT = (0, 1, 2, 3)
# A library's own name for what went wrong, where words should be.
CLASS_NAME = re.compile(r"^error: [\w.]*(Error|Exception|Warning)\b(:|$)")
# A message is a sentence; several problems of one file stand below it.
SENTENCE = re.compile(r"^error: .*[.?:]$")


def all_cases() -> list[Case]:
    return [case for kind in kinds() for case in cases(kind)]


def commands() -> list[pytest.param]:
    """Every case that is a command; of the kinds with many, all but every twelfth are for `make torture`."""
    found = []
    for kind in kinds():
        if kind in REQUESTS:
            continue
        of_kind = cases(kind)
        for case in of_kind:
            is_slow = len(of_kind) > MANY and case.number % 12 != 1
            found.append(pytest.param(case, id=str(case), marks=[pytest.mark.slow] if is_slow else []))
    return found


@pytest.fixture(scope="module")
def command() -> Iterator[Command]:
    with Command("tests.corpus.server") as started:
        yield started


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", commands())
def test_a_command(case: Case, command: Command, tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    write_files(case, folder, tiny)
    before = contents(folder)

    done = command(
        *arguments_of(case, folder, tiny),
        stdin=content_of(case.stdin, tiny),
        env={"LLMKIT_CACHE": str(tmp_path / "cache"), **case.env},
        cwd=folder,
        seconds=SECONDS,
    )

    check_end(case, done)
    after = contents(folder)
    assert {name: after.get(name) for name in before} == before
    assert set(after) - set(before) <= set(case.makes)


def check_end(case: Case, done: Completed) -> None:
    """Check the exit code, and that one message of a person's words says what is wrong."""
    said = done.stderr
    assert done.code in case.codes, said
    assert "Traceback" not in said, said
    assert "fault of llmkit" not in said, said
    assert done.peak < MOST_MEMORY
    lines = said.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == (done.code in (1, 2)), said
    assert not any(CLASS_NAME.match(line) for line in errors), said
    assert all(SENTENCE.match(line) for line in errors), said
    assert "\x1b" not in said, said
    if errors:
        assert done.stdout == b"" or case.partial, done.stdout
        assert len(lines) - lines.index(errors[0]) <= MOST_LINES, said
        assert len(said) <= LONGEST_MESSAGE, said
    if done.code == 3:
        assert "rejected" in lines[-1], said
    for word in case.says:
        assert word in said, said


def test_there_are_hundreds_and_no_two_are_the_same() -> None:
    found = all_cases()
    assert len(found) >= LEAST
    assert len({case.about for case in found}) == len(found)
    same = {
        repr((case.call, case.files, case.env, case.stdin, case.path, case.body, case.headers))
        for case in found
    }
    assert len(same) == len(found)


def test_every_case_may_only_end_as_the_contract_says() -> None:
    for case in all_cases():
        if case.kind in REQUESTS:
            assert case.statuses and all(200 <= status < 500 for status in case.statuses), case
        else:
            assert case.codes and set(case.codes) <= set(CONTRACT), case


# ---- requests

SERVED = (
    "text-classification",
    "question-answering",
    "zero-shot-classification",
    "fill-mask",
    "text-generation",
    "image-classification",
    "automatic-speech-recognition",
)


@pytest.fixture(scope="module")
def client(tiny: Callable[[str], Path]) -> Iterator[TestClient]:
    """What asks a server in this process; a fault of it is an answer of 500."""
    from llmkit.cli.serve_run import _loaded, wanted_of
    from llmkit.models.loading import LoadOptions
    from llmkit.serving.app import application
    from llmkit.serving.engine import Engine

    named = [f"{task}={tiny(task)}" for task in SERVED]
    others = [f"embeddings={tiny('feature-extraction')}", f"chat={tiny('chat')}"]
    served = _loaded(wanted_of([*named, *others], None, None), LoadOptions("cpu"), None, 256, SECONDS)
    engine = Engine(served.limits.waiting)
    with limited_memory():
        yield TestClient(application(served, engine), raise_server_exceptions=False)
    engine.end()


@pytest.mark.parametrize("case", cases("requests"), ids=str)
def test_a_request(case: Case, client: TestClient, tiny: Callable[[str], Path]) -> None:
    headers = (
        {"content-type": "application/json"}
        if case.headers is None
        else {name: value.encode("latin-1") for name, value in case.headers.items()}
    )
    answer = client.post(case.path, content=content_of(case.body, tiny), headers=headers)

    assert answer.status_code in case.statuses, answer.text[:500]
    assert "Traceback" not in answer.text
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert error["message"] and not CLASS_NAME.match(f"error: {error['message']}")
        assert error["code"] == answer.status_code
        assert len(answer.content) <= LONGEST_MESSAGE
        assert all(word in answer.text for word in case.says)
