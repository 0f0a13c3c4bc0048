"""``llmkit pipeline --warm``: what comes out is what comes out without, and nothing that goes wrong is left so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.command import TIMEOUT, Command, Completed, base_environment

CLASSIFY = ("pipeline", "text-classification")


class Warm:
    """The command as a person starts it, with workers of its own in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = base_environment() | {"XDG_RUNTIME_DIR": str(folder), "LLMKIT_WARM_IDLE": "300"}

    def start(self, *arguments: str | Path, env: Mapping[str, str] | None = None, **options: Any) -> Any:
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        command = [sys.executable, "-m", "llmkit", *map(str, arguments)]
        return subprocess.Popen(command, env=self.environment | dict(env or {}), **(streams | options))

    def __call__(
        self, *arguments: str | Path, stdin: bytes = b"", env: Mapping[str, str] | None = None, **options: Any
    ) -> Completed:
        process = self.start(*arguments, env=env, **options)
        stdout, stderr = process.communicate(stdin, timeout=TIMEOUT)
        return Completed(process.returncode, stdout, stderr.decode())

    def workers(self) -> list[dict[str, Any]]:
        """What `llmkit warm list` says, read from where it reads it."""
        files = sorted((self.folder / "llmkit").glob("warm-*.json"))
        return [json.loads(file.read_text()) for file in files]

    def is_settled(self) -> bool:
        """Tell whether the worker has learned all that a call before had to tell it."""
        (state,) = self.workers()
        return bool(state["models"]) and not state["running"] and not state["loading"]

    def stop(self) -> None:
        self("warm", "stop")


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """One worker for all tests that leave it alive."""
    started = Warm(tmp_path_factory.mktemp("run"))
    yield started
    started.stop()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Warm]:
    """A folder without workers, for a test that kills them."""
    (tmp_path / "run").mkdir()
    started = Warm(tmp_path / "run")
    yield started
    started.stop()


@pytest.fixture(scope="module")
def model(tiny: Callable[[str], Path]) -> Path:
    return tiny("text-classification")


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + TIMEOUT
    while not (value := condition()):
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.02)
    return value


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


# The worker


def test_a_model_is_loaded_once(own: Warm, model: Path) -> None:
    for text in ("one", "two", "three"):
        assert own(*CLASSIFY, text, "-m", model, "--warm").code == 0
    (worker,) = own.workers()

    assert worker["calls"] == 3
    assert len(worker["models"]) == 1
    listed = own("warm", "list", "-f", "jsonl").lines
    assert [(row["process"], row["models"]) for row in listed] == [(worker["process"], worker["models"])]
    assert own("warm", "stop").stderr == "1 stopped.\n"
    assert own("warm", "list", "-f", "jsonl").lines == []


def test_a_model_that_was_trained_anew_is_loaded_anew(
    warm: Warm, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(tiny("text-classification"), folder)
    call = (*CLASSIFY, "x", "-m", folder)
    before = [warm(*call, "--warm").stdout for _ in range(2)]
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: tensor * 2 for name, tensor in weights.items()}, folder / "model.safetensors", {"format": "pt"}
    )

    after = [warm(*call, "--warm").stdout for _ in range(2)]

    assert before[0] == before[1] != after[0] == after[1] == warm(*call).stdout


@pytest.mark.parametrize(
    "how", [pytest.param(signal.SIGKILL, marks=pytest.mark.slow), signal.SIGSTOP], ids=["died", "hangs"]
)
def test_a_worker_that_is_no_use_is_replaced(own: Warm, model: Path, how: int) -> None:
    call = (*CLASSIFY, "x", "-m", model, "--warm")
    before = own(*call)
    process = own.workers()[0]["process"]
    wait_for(own.is_settled)
    os.kill(process, how)

    after = own(*call, env={"LLMKIT_WARM_PATIENCE": "1"})

    assert after == before
    assert own.workers()[0]["process"] != process


@pytest.mark.slow  # a worker takes seconds to start
def test_a_worker_that_loads_is_left_and_holds_no_streams(own: Warm, model: Path) -> None:
    call = (*CLASSIFY, "x", "-m", model, "--warm")
    before = own(*call)
    wait_for(own.is_settled)
    process = own.workers()[0]["process"]
    os.kill(process, signal.SIGSTOP)
    (state,) = (own.folder / "llmkit").glob("warm-*.json")
    state.write_text(json.dumps(own.workers()[0] | {"loading": time.time()}))

    after = own(*call, env={"LLMKIT_WARM_PATIENCE": "1"})  # which reads its output to the end

    assert (after.code, after.stdout) == (before.code, before.stdout)
    assert after.stderr == "warning: no warm worker: it is loading a model. This call runs without.\n"
    assert own.workers()[0]["process"] == process
    os.kill(process, signal.SIGCONT)


@pytest.mark.slow  # a worker takes seconds to start
def test_a_worker_with_other_packages_is_replaced(own: Warm, model: Path, tmp_path: Path) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    own.environment["PYTHONPATH"] = str(packages)
    call = (*CLASSIFY, "x", "-m", model, "--warm")
    own(*call)
    process = own.workers()[0]["process"]
    (packages / "new-1.0.dist-info").mkdir()

    assert own(*call).code == 0

    wait_for(lambda: own.workers() and own.workers()[0]["process"] != process)


@pytest.mark.slow  # a worker takes seconds to start
def test_a_process_that_is_killed_while_it_runs_a_call(own: Warm, model: Path) -> None:
    process = own.start(*CLASSIFY, "-m", model, "--warm")
    process.stdin.write(b"one\n")
    process.stdin.flush()
    process.stdout.readline()
    worker = own.workers()[0]["process"]
    children = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGKILL)

    assert process.wait(TIMEOUT) == 1
    assert b"was killed" in process.stderr.read()
    assert own(*CLASSIFY, "x", "-m", model, "--warm").code == 0
    assert own.workers()[0]["process"] == worker


@pytest.mark.slow  # a worker takes seconds to start
def test_two_at_once_start_one_worker(own: Warm, model: Path) -> None:
    processes = [own.start(*CLASSIFY, "x", "-m", model, "--warm") for _ in range(4)]

    answers = {process.communicate(timeout=TIMEOUT)[0] for process in processes}

    assert [process.returncode for process in processes] == [0] * 4
    assert len(answers) == 1
    assert len(own.workers()) == 1
    assert own.workers()[0]["calls"] == 4


@pytest.mark.slow  # a worker takes seconds to start
def test_it_leaves_when_nobody_calls(own: Warm, model: Path) -> None:
    own.environment["LLMKIT_WARM_IDLE"] = "0.3"
    own(*CLASSIFY, "x", "-m", model, "--warm")

    wait_for(lambda: not own.workers())
    assert not list((own.folder / "llmkit").glob("*.sock"))


@pytest.mark.slow  # a worker takes seconds to start
def test_settings_that_libraries_read_once_have_a_worker_of_their_own(own: Warm, model: Path) -> None:
    for value in ("0", "1"):
        own(*CLASSIFY, "x", "-m", model, "--warm", env={"HF_HUB_DISABLE_TELEMETRY": value})

    assert len(own.workers()) == 2


def test_the_client_imports_next_to_nothing(warm: Warm, model: Path) -> None:
    """A dozen modules of its own: what imports one of Python's larger ones costs as much as all the rest."""
    warm(*CLASSIFY, "x", "-m", model, "--warm")

    def imported(code: str, *arguments: str) -> set[str]:
        command = [sys.executable, "-X", "importtime", "-c", code, *arguments]
        done = subprocess.run(
            command, env=warm.environment, capture_output=True, text=True, timeout=TIMEOUT, check=True
        )
        return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}

    script = "from llmkit.__main__ import main; main()"
    found = imported(script, *CLASSIFY, "x", "-m", str(model), "--warm") - imported("pass")

    assert "llmkit.serving.client" in found
    assert {name for name in found if name.partition(".")[0] != "llmkit"} <= {"__future__", "_socket"}


# Who may use it


@pytest.mark.slow  # cold calls that cannot be forked
@pytest.mark.parametrize("spoil", ["open to others", "a link", "no folder", "a long path"])
def test_a_place_that_others_could_reach_is_not_used(own: Warm, model: Path, spoil: str) -> None:
    folder = own.folder / "llmkit"
    if spoil == "open to others":
        folder.mkdir(mode=0o755)
    elif spoil == "a link":
        folder.symlink_to(own.folder)
    elif spoil == "a long path":
        own.environment["XDG_RUNTIME_DIR"] = str(own.folder / ("x" * 100))
        Path(own.environment["XDG_RUNTIME_DIR"]).mkdir()
    else:
        own.environment["XDG_RUNTIME_DIR"] = str(own.folder / "nowhere")

    done = own(*CLASSIFY, "x", "-m", model, "--warm")

    assert done.code == 0
    assert done.lines
    assert done.stderr.startswith("warning: no warm worker: ")
    assert not list(own.folder.rglob("*.sock"))


def test_nobody_else_can_connect(warm: Warm, model: Path) -> None:
    warm(*CLASSIFY, "x", "-m", model, "--warm")
    folder = warm.folder / "llmkit"

    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o177 for path in folder.iterdir()} == {0}


@pytest.mark.slow  # a worker takes seconds to start
def test_the_setting_asks_for_it_too(own: Warm, model: Path) -> None:
    own(*CLASSIFY, "x", "-m", model, env={"LLMKIT_WARM": "0"})
    own(*CLASSIFY, "x", "-m", model, "--no-warm", env={"LLMKIT_WARM": "1"})
    assert own.workers() == []

    own(*CLASSIFY, "x", "-m", model, env={"LLMKIT_WARM": "1"})
    assert own.workers()[0]["calls"] == 1
