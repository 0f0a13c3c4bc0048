"""The worker of ``llmkit pipeline --warm``: what it keeps, who may use it, and nothing that goes wrong is left so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.command import TIMEOUT
from tests.serving.warming import CLASSIFY, Warm, wait_for


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
