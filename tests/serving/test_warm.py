"""``llmkit pipeline --warm``: what comes out, and when, is what comes out without."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.command import TIMEOUT, Command
from tests.serving.warming import CLASSIFY, Warm, wait_for

# The same as without

CALLS: dict[str, tuple[tuple[str, ...], bytes]] = {
    "an argument": (("What a day",), b""),
    "lines": ((), "eins\nzwei drei\nvierß\n".encode()),
    "json": (("-f", "json", "-p", "top_k=2", "one", "two"), b""),
    "a table of csv": (("-f", "csv", "--keep-input"), b'{"text": "a", "id": 1}\n{"text": "b", "id": 2}\n'),
    "a row that fails": ((), b'{"text": "good"}\n{"text": ""}\n'),
    "no row that does not fail": ((), b'{"text": ""}\n'),
    "a long text": (("word " * 900,), b""),
    "a wrong parameter": (("x", "-p", "topk=1"), b""),
    "a wrong option": (("x", "--modle", "y"), b""),
    "a wrong device": (("x", "--device", "cuda:9"), b""),
    "no input": ((), b""),
}


@pytest.mark.parametrize("case", CALLS)
def test_it_is_what_the_cold_call_gives(warm: Warm, llmkit: Command, model: Path, case: str) -> None:
    arguments, stdin = CALLS[case]
    call = (*CLASSIFY, *arguments, "-m", str(model))

    cold = llmkit(*call, stdin=stdin)
    found = warm(*call, "--warm", stdin=stdin)

    assert found == cold


def test_a_model_that_is_not_there(warm: Warm, llmkit: Command, tmp_path: Path) -> None:
    call = (*CLASSIFY, "x", "-m", str(tmp_path / "nowhere"))

    assert warm(*call, "--warm") == llmkit(*call)


def test_files_are_written_alike(warm: Warm, llmkit: Command, model: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("one\ntwo\n\nthree\n")
    outputs = {}
    for name, run in (("cold", llmkit), ("warm", warm)):
        mask = os.umask(0o027)
        done = run(*CLASSIFY, "-i", "in.txt", "-o", f"{name}.csv", "-m", model, "--warm", cwd=tmp_path)
        os.umask(mask)
        path = tmp_path / f"{name}.csv"
        outputs[name] = (done.code, path.read_bytes(), path.stat().st_mode)

    assert outputs["warm"][:2] == outputs["cold"][:2]
    assert outputs["warm"][2] & 0o777 == 0o640


@pytest.mark.parametrize(
    "task", ["text-generation", "fill-mask", "feature-extraction", "token-classification"]
)
def test_other_tasks(warm: Warm, llmkit: Command, tiny: Callable[[str], Path], task: str) -> None:
    text = "the ___ of the town" if task == "fill-mask" else "the bank of the town"
    sampled = ("-p", "do_sample=true", "--seed", "7") if task == "text-generation" else ()
    call = ("pipeline", task, text, "-m", str(tiny(task)), *sampled)
    cold = llmkit(*call)
    assert cold.code == 0, cold.stderr

    for _ in range(2):  # the second time the model is there already
        assert warm(*call, "--warm") == cold


@pytest.mark.slow
def test_sampling_without_a_seed_is_by_chance(warm: Warm, tiny: Callable[[str], Path]) -> None:
    call = ("pipeline", "text-generation", "the bank", "-m", tiny("text-generation"), "-p", "do_sample=true")

    assert len({warm(*call, "--warm").stdout for _ in range(3)}) > 1


@pytest.mark.slow  # a worker takes seconds to start
def test_all_threads_compute_alike(warm: Warm, model: Path) -> None:
    """More than one thread: those of the process that was forked from are not there any more."""
    texts = "\n".join("word " * (7 * number % 90 + 1) for number in range(64)).encode()
    call, env = (*CLASSIFY, "-m", model), {"OMP_NUM_THREADS": "2"}

    assert warm(*call, "--warm", stdin=texts, env=env).stdout == warm(*call, stdin=texts, env=env).stdout


@pytest.mark.slow  # cold calls that cannot be forked
@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-"])
def test_a_closed_stream(warm: Warm, model: Path, closed: str) -> None:
    def run(*more: str) -> subprocess.CompletedProcess[bytes]:
        words = [sys.executable, "-m", "llmkit", *CLASSIFY, "x", "-m", str(model), *more]
        command = ["bash", "-c", f'"$@" {closed}', "-", *words]
        return subprocess.run(
            command, env=warm.environment, capture_output=True, timeout=TIMEOUT, check=False
        )

    cold, found = run(), run("--warm")

    assert (found.returncode, found.stdout, found.stderr) == (cold.returncode, cold.stdout, cold.stderr)


def test_a_terminal_is_a_terminal(warm: Warm, model: Path) -> None:
    def run(*more: str) -> bytes:
        command = [sys.executable, "-m", "llmkit", *CLASSIFY, "What a day", "-m", str(model), *more]
        master, slave = os.openpty()
        process = subprocess.Popen(command, env=warm.environment, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        seen = b""
        try:
            while part := os.read(master, 4096):
                seen += part
        except OSError:  # nobody holds the other end any more
            pass
        os.close(master)
        assert process.wait(TIMEOUT) == 0
        return seen

    assert run("--warm") == run()


# Streams and signals


def test_results_come_as_lines_do(warm: Warm, model: Path) -> None:
    process = warm.start(*CLASSIFY, "-m", model, "--warm")
    for text in (b"one\n", b"two\n"):
        process.stdin.write(text)
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["label"]
    process.stdin.close()

    assert process.wait(TIMEOUT) == 0


def test_a_reader_that_has_enough(warm: Warm, model: Path) -> None:
    process = warm.start(*CLASSIFY, "-m", model, "--warm")
    process.stdin.write(b"one\n")
    process.stdin.flush()
    process.stdout.readline()
    process.stdout.close()
    process.stdin.write(b"two\n")
    process.stdin.close()

    assert process.wait(TIMEOUT) == 0
    assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, b"interrupted"), (signal.SIGTERM, 143, b"told to stop"), (signal.SIGHUP, -1, b"")],
)
def test_signals_reach_the_call(warm: Warm, model: Path, number: int, code: int, said: bytes) -> None:
    process = warm.start(*CLASSIFY, "-m", model, "--warm")
    process.stdin.write(b"one\n")
    process.stdin.flush()
    process.stdout.readline()

    process.send_signal(number)

    assert process.wait(TIMEOUT) == code
    assert said in process.stderr.read()
    assert process.stdout.read() == b""


def test_a_call_that_is_killed_takes_its_process_along(warm: Warm, model: Path) -> None:
    process = warm.start(*CLASSIFY, "-m", model, "--warm")
    process.stdin.write(b"one\n")
    process.stdin.flush()
    process.stdout.readline()

    process.kill()

    assert process.stdout.read() == b""  # nobody writes to it any more
    wait_for(lambda: warm.workers()[0]["running"] == 0)
