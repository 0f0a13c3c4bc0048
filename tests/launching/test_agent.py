"""The launcher and what becomes of its processes: killed, stopped, told to end, wrong from the beginning."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import signal
import time
from pathlib import Path

import pytest

from tests.fixtures.command import Command
from tests.fixtures.ended import ended
from tests.launching.running import TWO, Launched, Tiny, write_config

FINETUNE = ("finetune", "run.yaml", *TWO)
FIRST_SAVE = "out/checkpoints/step-*"
LONG = {"epochs": 1000}


def weights(folder: Path, output: str = "out") -> str:
    return hashlib.sha256((folder / output / "model.safetensors").read_bytes()).hexdigest()


def newest(folder: Path) -> int:
    return max(int(path.name.removeprefix("step-")) for path in folder.glob(FIRST_SAVE))


def train_whole(llmkit: Command, folder: Path) -> None:
    """Let two processes train, undisturbed, into the folder ``whole``."""
    call = ("finetune", "run.yaml", "--device", "cpu", "--set", "output=whole")
    done = llmkit(*call, cwd=folder, env={"LLMKIT_CACHE": str(folder / "cache")}, processes=2)
    assert done.code == 0, done.stderr


class TestLost:
    @pytest.mark.slow  # two hosts do the same in test_two_hosts.py
    def test_begins_again_by_itself_to_the_same_weights(
        self, llmkit: Command, tiny: Tiny, tmp_path: Path
    ) -> None:
        write_config(tmp_path, tiny, epochs=12)
        train_whole(llmkit, tmp_path)

        run = Launched(tmp_path, *FINETUNE, "--max-restarts", "2")
        run.wait_for(FIRST_SAVE)
        run.kill(1)
        code, output, errors = run.wait()

        assert code == 0, errors
        assert re.search(r"process 1 of 2 \(pid \d+\) was killed by SIGKILL", errors), errors
        assert errors.count("Beginning again from what is whole (2 restarts left).") == 1
        assert errors.count("going on after step") == 1
        assert len(output.splitlines()) == 1
        with ended("kill of one of two processes"):
            assert weights(tmp_path) == weights(tmp_path, "whole")

    @pytest.mark.slow
    def test_the_message_names_the_process_and_why(self, tiny: Tiny, tmp_path: Path) -> None:
        write_config(tmp_path, tiny, **LONG)
        run = Launched(tmp_path, *FINETUNE)
        run.wait_for(FIRST_SAVE)
        run.kill(0)

        code, output, errors = run.wait(60)

        assert (code, output) == (1, "")
        assert re.search(r"error: process 0 of 2 \(pid \d+\) was killed by SIGKILL", errors), errors
        assert "--max-restarts N does so by itself" in errors
        assert "Traceback" not in errors

    @pytest.mark.slow
    @pytest.mark.parametrize("stopped", [0, 1])
    def test_a_stopped_one_is_missed(self, tiny: Tiny, tmp_path: Path, stopped: int) -> None:
        write_config(tmp_path, tiny, **LONG)
        run = Launched(tmp_path, *FINETUNE, env={"LLMKIT_LOST_AFTER": "2"})
        run.wait_for(FIRST_SAVE)
        run.kill(stopped, by=signal.SIGSTOP)

        code, _, errors = run.wait(60)

        assert code == 1
        assert f"lost sight of process {stopped} of 2" in errors
        assert "nothing was heard from it for 2 seconds" in errors

    @pytest.mark.slow
    @pytest.mark.parametrize("stopped", [0, 1])
    def test_a_stopped_one_is_begun_again_to_the_same_weights(
        self, llmkit: Command, tiny: Tiny, tmp_path: Path, stopped: int
    ) -> None:
        write_config(tmp_path, tiny, epochs=60)
        train_whole(llmkit, tmp_path)
        restarts = ("--max-restarts", "3")  # on a busy machine one may be missed that was not stopped
        run = Launched(tmp_path, *FINETUNE, *restarts, env={"LLMKIT_LOST_AFTER": "3"})
        run.wait_for(FIRST_SAVE)
        run.kill(stopped, by=signal.SIGSTOP)

        code, _, errors = run.wait(300)

        assert code == 0, errors
        assert f"lost sight of process {stopped} of 2" in errors
        assert "going on after step" in errors
        with ended("stop of one of two processes"):
            assert weights(tmp_path) == weights(tmp_path, "whole")

    @pytest.mark.slow
    def test_one_that_goes_on_soon_is_not_missed(self, tiny: Tiny, tmp_path: Path) -> None:
        write_config(tmp_path, tiny, epochs=20)
        run = Launched(tmp_path, *FINETUNE)
        run.wait_for(FIRST_SAVE)
        run.kill(1, by=signal.SIGSTOP)
        time.sleep(1)
        run.kill(1, by=signal.SIGCONT)

        code, _, errors = run.wait()

        assert code == 0, errors


class TestTold:
    @pytest.mark.parametrize(
        ("number", "code"),
        [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)],
    )
    def test_to_stop_it_saves_and_says_how_to_go_on(
        self, tiny: Tiny, tmp_path: Path, number: signal.Signals, code: int
    ) -> None:
        write_config(tmp_path, tiny, save_steps=10_000, **LONG)
        run = Launched(tmp_path, *FINETUNE, "--max-restarts", "3")
        run.wait_for_a_step()
        run.process.send_signal(number)

        ended, output, errors = run.wait(60)

        assert (ended, output) == (code, ""), errors
        going_on = shlex.join(["llmkit", *FINETUNE, "--max-restarts", "3", "--resume"])
        said = f"saved after step {newest(tmp_path):,}; go on with: {going_on}"
        assert errors.count(said) == 1
        assert errors.count("warning: ") == 1

    @pytest.mark.slow
    def test_a_launcher_that_is_killed_leaves_nobody_behind(
        self, llmkit: Command, tiny: Tiny, tmp_path: Path
    ) -> None:
        write_config(tmp_path, tiny, save_steps=10_000, epochs=100)
        train_whole(llmkit, tmp_path)
        run = Launched(tmp_path, *FINETUNE)
        run.wait_for_a_step()
        workers = run.workers()
        run.process.kill()
        run.process.wait()
        end = time.monotonic() + 60
        while any(is_running(pid) for pid in workers):
            assert time.monotonic() < end
            time.sleep(0.05)

        assert 0 < newest(tmp_path) < 300, "they saved"
        code, _, errors = Launched(tmp_path, *FINETUNE, "--resume").wait(300)
        assert code == 0, errors
        with ended("kill of the launcher of two processes"):
            assert weights(tmp_path) == weights(tmp_path, "whole")


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class TestWrong:
    def test_an_error_is_said_once_and_nothing_is_begun_again(self, tiny: Tiny, tmp_path: Path) -> None:
        write_config(tmp_path, tiny)
        with (tmp_path / "train.jsonl").open("a") as file:
            file.write('{"text": 3, "label": "a"}\n')

        code, output, errors = Launched(tmp_path, *FINETUNE, "--max-restarts", "3").wait(60)

        assert (code, output) == (2, "")
        assert errors.count("train.jsonl:8: 3 is no text.") == 1, errors
        assert "Beginning again" not in errors
        assert [path.name for path in (tmp_path / "out").glob("*")] == [".lock"]

    @pytest.mark.slow
    def test_a_taken_port_is_one_message(self, tiny: Tiny, tmp_path: Path) -> None:
        import socket

        write_config(tmp_path, tiny)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            where = ("--nodes", "2", "--node-rank", "0", "--rendezvous", f"127.0.0.1:{port}")
            code, _, errors = Launched(tmp_path, *FINETUNE, *where).wait(60)

        assert code == 1
        assert f"error: cannot listen at 127.0.0.1:{port}" in errors


@pytest.mark.slow
def test_two_machines_meet_and_train_as_one_does(tiny: Tiny, tmp_path: Path) -> None:
    write_config(tmp_path, tiny, epochs=2)
    port = free_port()
    runs = [
        Launched(
            tmp_path,
            *("finetune", "run.yaml", "--device", "cpu", "--nodes", "2"),
            *("--node-rank", str(rank), "--rendezvous", f"127.0.0.1:{port}"),
        )
        for rank in (1, 0)
    ]
    ends = [run.wait() for run in runs]

    assert [code for code, _, _ in ends] == [0, 0], ends
    assert ends[0][1] == "", "the first machine's first process has the results"
    assert len(ends[1][1].splitlines()) == 1
    assert not any("[c10d]" in errors for _, _, errors in ends), "torch's own words, and its stacks"
    two = weights(tmp_path)
    assert Launched(tmp_path, *FINETUNE, "--overwrite").wait()[0] == 0
    assert weights(tmp_path) == two


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.slow
def test_the_cores_are_divided(tiny: Tiny, tmp_path: Path) -> None:
    write_config(tmp_path, tiny, **LONG)
    environment = {"OMP_NUM_THREADS": ""}
    run = Launched(tmp_path, *FINETUNE, env=environment)
    run.wait_for(FIRST_SAVE)
    given = Path(f"/proc/{run.workers()[0]}/environ").read_bytes().split(b"\0")
    run.process.terminate()
    run.wait(60)

    assert f"OMP_NUM_THREADS={max(1, len(os.sched_getaffinity(0)) // 2)}".encode() in given
