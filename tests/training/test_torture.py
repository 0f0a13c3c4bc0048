"""Killed at any moment, a run goes on from its newest whole checkpoint and ends in the same weights, bit for bit."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from llmkit.training.objectives import OBJECTIVES
from tests.fixtures.command import Command, Completed, base_environment
from tests.training.rows import TRIALS

Tiny = Callable[[str], Path]
ROOT = Path(__file__).parents[2]
KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def dying() -> Iterator[Command]:
    """The command, killed where the environment says."""
    with Command("tests.training.dying") as command:
        yield command


class Torture:
    """A run of a task in a folder, again and again, each time into a folder of its own.

    Attributes:
        whole: the bytes of the model that a run gives that nobody kills, as a hash.
        events: what it does to the files of its folder, in turn.
    """

    def __init__(self, dying: Command, tiny: Tiny, folder: Path, task: str, processes: int = 1) -> None:
        self.dying, self.folder, self.processes = dying, folder, processes
        training = {
            "epochs": 2,
            "batch_size": 3,
            "learning_rate": 1e-3,
            "precision": "float32",
            "logging_steps": 1,
            "save_steps": 2,
            "eval_steps": 2,
        }
        sections = TRIALS[task].sections(tiny, folder)
        sections["model"].pop("config", None)  # dropout too has to be the same after a resume
        sections["data"]["validation"] = sections["data"]["train"]
        config = {"task": task, **sections, "training": training, "output": "set by each run"}
        (folder / "run.yaml").write_text(yaml.safe_dump(config))
        assert self.run("whole").code == 0
        self.events = (folder / "whole.events").read_text().splitlines()
        self.whole = self.hash("whole")

    def run(self, name: str, *arguments: str, at: int = 0, by: str = "kill") -> Completed:
        """Run the command; `at` which of its events it ends, and how: one of `dying.ENDS`."""
        environment = {
            "LLMKIT_CACHE": str(self.folder / "cache"),
            "DIES_IN": str(self.folder / name),
            "DIES_AT": str(at),
            "TELLS_IN": str(self.folder / f"{name}.events"),
            "DIES_BY": by,
        }
        call = ("finetune", "run.yaml", "--set", f"output={name}", *arguments)
        if self.processes == 1:
            return self.dying(*call, cwd=self.folder, env=environment)
        start = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(self.processes))
        done = subprocess.run(
            [sys.executable, *start, "-m", "tests.training.dying", *call],
            cwd=self.folder,
            env=base_environment() | environment | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            timeout=300,
            check=False,
        )
        return Completed(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def hash(self, name: str) -> str:
        return hashlib.sha256((self.folder / name / "model.safetensors").read_bytes()).hexdigest()

    def end_and_resume(self, at: int, by: str = "kill") -> Completed:
        """End a run at an event, go on with it, and check that nothing is lost."""
        name = f"{by} {at}"
        what = f"{name}: {self.events[at - 1]}"
        assert self.run(name, at=at, by=by).code == KILLED, what
        return self.resume(name, what)

    def resume(self, name: str, what: str) -> Completed:
        """Go on with a run, or begin it where it had not begun, and check that it ends in the same bytes."""
        began = (self.folder / name / "log.jsonl").exists() or (self.folder / name / "checkpoints").exists()
        done = self.run(name, *(["--resume"] if began else []))
        assert done.code == 0, f"{what}: {done.stderr}"
        assert self.hash(name) == self.whole, what
        logs = [(self.folder / each / "log.jsonl").read_text().splitlines() for each in (name, "whole")]
        assert [json.loads(line)["step"] for line in logs[0]] == [
            json.loads(line)["step"] for line in logs[1]
        ]
        return done


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

        done = torture.resume("damaged", "damaged")

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
        assert "going on after step 2." in torture.resume("full", "full").stderr


@pytest.mark.slow
class TestEveryMoment:
    def test_killed_at_everything_it_writes(self, dying: Command, tiny: Tiny, tmp_path: Path) -> None:
        torture = Torture(dying, tiny, tmp_path, "text-classification")
        assert len(torture.events) > 60
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
