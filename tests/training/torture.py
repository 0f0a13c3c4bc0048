"""A run that is ended at a moment of its own, and gone on with: it must end in the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.fixtures.command import Command, Completed, base_environment
from tests.fixtures.ended import ended
from tests.training.rows import TRIALS
from tests.training.syscalls import Call, calls_in

Tiny = Callable[[str], Path]
ROOT = Path(__file__).parents[2]
KILLED = -signal.SIGKILL


class Torture:
    """A run of a task in a folder, again and again, each time into a folder of its own.

    Attributes:
        whole: the bytes of the model that a run gives that nobody kills, as a hash.
        events: what it does to the files of its folder, in turn.
    """

    def __init__(
        self, dying: Command, tiny: Tiny, folder: Path, task: str, processes: int = 1, **sections: Any
    ) -> None:
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
        sections = TRIALS[task].sections(tiny, folder) | sections
        sections["model"].pop("config", None)  # dropout too has to be the same after a resume
        sections["data"]["validation"] = sections["data"]["train"]
        config = {"task": task, **sections, "training": training, "output": "set by each run"}
        (folder / "run.yaml").write_text(yaml.safe_dump(config))
        assert self.run("whole").code == 0
        self.events = (folder / "whole.events").read_text().splitlines()
        self.whole = self.hash("whole")

    def run(
        self,
        name: str,
        *arguments: str,
        at: int = 0,
        by: str = "kill",
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run the command; `at` which of its events it ends, and how: one of `dying.ENDS`."""
        environment = {
            "LLMKIT_CACHE": str(self.folder / "cache"),
            "DIES_IN": str(self.folder / name),
            "DIES_AT": str(at),
            "TELLS_IN": str(self.folder / f"{name}.events"),
            "DIES_BY": by,
            **(env or {}),
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

    def whole_steps(self, name: str) -> list[int]:
        """Return the steps of the checkpoints whose files are as their manifests have them."""
        found = []
        for manifest in (self.folder / name).glob("checkpoints/step-*/manifest.json"):
            try:
                content = json.loads(manifest.read_text())
            except ValueError:
                continue
            files = {each: manifest.parent / each for each in content["files"]}
            if all(
                path.is_file() and hash_of(path) == content["files"][each]["sha256"]
                for each, path in files.items()
            ):
                found.append(content["step"])
        return sorted(found)

    def steps_made(self, name: str) -> list[int]:
        """Return the steps whose checkpoints a run had made: it was heard to do something after their last rename."""
        events = self.folder / f"{name}.events"
        done = events.read_text().splitlines()[:-1] if events.exists() else []
        return [
            int(event[-8:]) for event in done if event.startswith("os.rename /checkpoints/.writing-step-")
        ]

    def hash(self, name: str) -> str:
        return hash_of(self.folder / name / "model.safetensors")

    def end_and_resume(self, at: int, by: str = "kill") -> Completed:
        """End a run at an event, go on with it, and check that nothing is lost."""
        name = f"{by} {at}"
        what = f"{name}: {self.events[at - 1]}"
        assert self.run(name, at=at, by=by).code == KILLED, what
        with ended(
            f"{by} at a thing that {'two processes do' if self.processes > 1 else 'it does'} to a file"
        ):
            return self.resume(name, what)

    def calls(self) -> list[Call]:
        """Return the system calls by which a run writes its checkpoints and its best model."""
        log = self.folder / "traced.strace"
        assert self.traced("traced", log).code == 0
        assert self.hash("traced") == self.whole
        return calls_in(log, "traced/checkpoints")

    def traced(self, name: str, log: Path, **more: str) -> Completed:
        """Run the command under strace."""
        return self.run(name, env={"TRACED_IN": str(log), **more})

    def kill_in_call(self, call: Call) -> None:
        """Kill a run on its way into a system call, go on with it, and check that nothing is lost."""
        name = f"{call.kind} {call.count}"
        done = self.traced(name, Path(os.devnull), DIES_IN_CALL=call.injection)
        assert done.code == KILLED, f"{name}: {done.stderr}"
        with ended("kill on the way into a system call that writes"):
            self.resume(name, f"{name}: {call.arguments}")

    def kill_after(self, seconds: float, name: str) -> bool:
        """Kill a run after a time, go on with it, and check that nothing is lost; False if it was done before."""
        done = self.run(name, env={"DIES_AFTER": f"{seconds:.3f}"})
        assert done.code in (0, KILLED), done.stderr
        if done.code == KILLED:
            with ended("kill at a random moment"):
                self.resume(name, f"after {seconds:.3f} seconds")
        return done.code == KILLED

    def resume(
        self, name: str, what: str, env: Mapping[str, str] | None = None, *, damaged: bool = False
    ) -> Completed:
        """Go on with a run, or begin it where it had not begun, and check that it ends in the same bytes.

        It must go on from the newest checkpoint that is whole, and unless one was `damaged` that is the last that
        the run had made.
        """
        began = any((self.folder / name / each).exists() for each in ("log.jsonl", "checkpoints", "run.json"))
        whole, made = self.whole_steps(name), self.steps_made(name)
        assert damaged or max(whole, default=0) >= max(made, default=0), f"{what}: whole {whole}, made {made}"
        done = self.run(name, *(["--resume"] if began else []), env=env)
        assert done.code == 0, f"{what}: {done.stderr}"
        said = [int(step) for step in re.findall(r"going on after step (\d+)\.", done.stderr)]
        assert said == ([max(whole)] if whole else []), f"{what}: whole {whole}, {done.stderr}"
        assert self.hash(name) == self.whole, what
        logs = [(self.folder / each / "log.jsonl").read_text().splitlines() for each in (name, "whole")]
        assert [json.loads(line)["step"] for line in logs[0]] == [
            json.loads(line)["step"] for line in logs[1]
        ]
        return done


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
