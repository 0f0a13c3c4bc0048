"""Killed at any moment, a run goes on from its newest whole checkpoint and ends in the same weights, bit for bit."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmkit.training.objectives import OBJECTIVES
from tests.fixtures.command import Command
from tests.fixtures.ended import ended
from tests.training.syscalls import Call, why_not
from tests.training.torture import KILLED, Tiny, Torture

DAMAGED = "kill, then a checkpoint's file missing, cut or altered"


@pytest.fixture(scope="module")
def dying() -> Iterator[Command]:
    """The command, killed where the environment says."""
    with Command("tests.training.dying") as command:
        yield command


class TestOneProcess:
    """The fast ones; of a task whose batches, masks and dropout are all random."""

    @pytest.fixture(scope="class")
    def torture(self, dying: Command, tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Torture:
        return Torture(dying, tiny, tmp_path_factory.mktemp("masked-lm"), "masked-lm")

    @pytest.mark.parametrize(
        ("event", "by"),
        [
            ("fsync /checkpoints/.writing-step-00000004/weights", "power cut"),
            ("os.rename /checkpoints/.writing-step-00000004", "kill"),
            ("os.remove /checkpoints/step-00000002/optimizer", "kill"),
        ],
    )
    def test_killed_in_a_save(self, torture: Torture, event: str, by: str) -> None:
        at = next(number for number, each in enumerate(torture.events, 1) if each.startswith(event))
        assert "going on after step" in torture.end_and_resume(at, by).stderr

    def test_a_damaged_checkpoint_is_passed_over_and_named(self, torture: Torture) -> None:
        at = torture.events.index("os.mkdir /checkpoints/.writing-step-00000006") + 1
        assert torture.run("damaged", at=at).code == KILLED
        newest = torture.folder / "damaged/checkpoints/step-00000004"
        os.truncate(newest / "weights.safetensors", 100)

        with ended(DAMAGED):
            done = torture.resume("damaged", "damaged", damaged=True)

        assert (
            f"passing over {newest.relative_to(torture.folder)}: weights.safetensors has 100 bytes"
            in done.stderr
        )
        assert "going on after step 2." in done.stderr

    def test_a_full_disk_leaves_the_checkpoints_whole(self, torture: Torture) -> None:
        at = torture.events.index("os.mkdir /checkpoints/.writing-step-00000004") + 1

        done = torture.run("full", at=at, by="full disk")

        assert done.code == 1
        assert "error: cannot write full/checkpoints/step-00000004: File too large.\n" in done.stderr
        assert "The checkpoints before it are whole." in done.stderr
        assert "Traceback" not in done.stderr
        with ended("full disk in a save"):
            assert "going on after step 2." in torture.resume("full", "full").stderr

    @pytest.mark.parametrize("kind", ["ftruncate", "rename"])
    def test_killed_on_the_way_into_a_system_call(
        self, torture: Torture, traced: list[Call], kind: str
    ) -> None:
        torture.kill_in_call([call for call in traced if call.kind == kind][1])

    @pytest.fixture(scope="class")
    def traced(self, torture: Torture) -> list[Call]:
        if reason := why_not():
            pytest.skip(reason)
        return torture.calls()

    def test_a_clock_that_was_set_back_changes_nothing(self, torture: Torture) -> None:
        at = torture.events.index("os.mkdir /checkpoints/.writing-step-00000006") + 1
        assert torture.run("clock", at=at).code == KILLED
        for path in (torture.folder / "clock/checkpoints").glob("step-00000002/*"):
            os.utime(path, (4e9, 4e9))  # the older one is of another century

        with ended("kill, then a clock that was set back"):
            done = torture.resume("clock", "clock", env={"CLOCK_BACK": "1e8"})

        assert "going on after step 4." in done.stderr


@pytest.mark.slow
class TestDamaged:
    @pytest.fixture(scope="class")
    def torture(self, dying: Command, tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Torture:
        return Torture(dying, tiny, tmp_path_factory.mktemp("causal-lm"), "causal-lm")

    @pytest.mark.parametrize(
        "name", ["weights.safetensors", "optimizer.safetensors", "state.json", "manifest.json"]
    )
    @pytest.mark.parametrize("damage", ["missing", "cut", "altered"])
    def test_it_is_passed_over(self, torture: Torture, name: str, damage: str) -> None:
        at = torture.events.index("os.mkdir /checkpoints/.writing-step-00000006") + 1
        run = f"{damage} {name}"
        assert torture.run(run, at=at).code == KILLED
        path = torture.folder / run / "checkpoints/step-00000004" / name
        content = path.read_bytes()
        if damage == "missing":
            path.unlink()
        else:
            half = len(content) // 2
            rest = b"" if damage == "cut" else bytes([content[half] ^ 1]) + content[half + 1 :]
            path.write_bytes(content[:half] + rest)

        with ended(DAMAGED):
            done = torture.resume(run, run, damaged=True)

        assert "passing over" in done.stderr
        assert "going on after step 2." in done.stderr


@pytest.mark.slow
class TestEveryMoment:
    """More than 250 kills where processes can be traced, as the assertions below add up to."""

    def test_killed_at_everything_it_writes(self, dying: Command, tiny: Tiny, tmp_path: Path) -> None:
        torture = Torture(dying, tiny, tmp_path, "text-classification")
        assert len(torture.events) > 80
        for at in range(1, len(torture.events) + 1):
            torture.end_and_resume(at)

    def test_power_cut_in_every_sync(self, dying: Command, tiny: Tiny, tmp_path: Path) -> None:
        torture = Torture(dying, tiny, tmp_path, "causal-lm")
        syncs = [at for at, event in enumerate(torture.events, 1) if event.startswith("fsync")]
        assert len(syncs) > 20
        for at in syncs:
            torture.end_and_resume(at, "power cut")

    @pytest.mark.parametrize("task", OBJECTIVES)
    def test_killed_at_random_moments(self, dying: Command, tiny: Tiny, tmp_path: Path, task: str) -> None:
        torture = Torture(dying, tiny, tmp_path, task)
        for at in random.Random(task).sample(range(2, len(torture.events) + 1), 3):
            torture.end_and_resume(at)

    def test_killed_on_the_way_into_every_system_call_that_writes(
        self, dying: Command, tiny: Tiny, tmp_path: Path
    ) -> None:
        if reason := why_not():
            pytest.skip(reason)
        torture = Torture(dying, tiny, tmp_path, "masked-lm")
        calls = torture.calls()
        assert {"write", "fsync", "ftruncate", "mkdir", "rename", "unlinkat", "rmdir"} <= {
            call.kind for call in calls
        }
        assert len(calls) > 60
        for call in calls:
            torture.kill_in_call(call)

    @pytest.mark.parametrize(
        "sections", [{}, {"adapter": {"type": "lora", "dropout": 0.1}}], ids=["all", "lora"]
    )
    @pytest.mark.parametrize("task", ["masked-lm", "token-classification"])
    def test_killed_at_random_times(
        self, dying: Command, tiny: Tiny, tmp_path: Path, task: str, sections: dict[str, Any]
    ) -> None:
        torture = Torture(dying, tiny, tmp_path, task, **sections)
        begin = time.monotonic()
        torture.run("timed")
        seconds = time.monotonic() - begin
        moments, killed = random.Random(task), 0
        for number in range(60):  # one that was done before it was killed does not count
            killed += torture.kill_after(moments.uniform(0, seconds), f"moment {number}")
            if killed == 20:
                return
        pytest.fail(f"only {killed} were killed in time")

    def test_killed_again_and_again(self, dying: Command, tiny: Tiny, tmp_path: Path) -> None:
        torture = Torture(dying, tiny, tmp_path, "next-sentence")
        code, calls, moments = KILLED, 0, random.Random(0)
        while code == KILLED:
            resumed = (tmp_path / "again/checkpoints").exists()
            at = moments.randint(20, 40)
            code = torture.run("again", "--resume" if resumed else "--overwrite", at=at).code
            calls += 1
        assert code == 0
        assert calls >= 3
        assert torture.hash("again") == torture.whole

    @pytest.mark.parametrize("task", ["text-classification", "masked-lm"])
    def test_two_processes(self, dying: Command, tiny: Tiny, tmp_path: Path, task: str) -> None:
        torture = Torture(dying, tiny, tmp_path, task, processes=2)
        for at in random.Random(task).sample(range(8, len(torture.events) + 1), 3):
            torture.end_and_resume(at)
