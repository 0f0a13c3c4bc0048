"""A run that is under way: its parts, and what hears of its progress."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.training.examples import Examples
from llmkit.training.loop import Loop, Progress, StepResult
from llmkit.training.objectives.base import Objective

if TYPE_CHECKING:
    from accelerate import Accelerator

    from llmkit.training.config import FinetuneConfig
    from llmkit.training.planning import Plan

CHECKPOINTS = "checkpoints"
CONFIG = "config.yaml"
LOG = "log.jsonl"
METRICS = "metrics.json"
RUN = "run.json"
COST = "cost.json"
LOCK = ".lock"


def name_of(folder: Path) -> str:
    """Return a folder's own name, also where it is called ``.`` or ``..``."""
    return folder.name if folder.name not in ("", "..") else folder.resolve().name


class Listener:
    """What hears of a run's progress; this one hears nothing."""

    def note(self, text: str) -> None:
        """Take a remark for the person."""

    def lost(self, text: str) -> None:
        """Take the message on another process that is not there any more; in any process, at any moment."""

    def begin(self, run: Run) -> None:
        """Hear that the first step is about to be taken."""

    def step(self, result: StepResult, run: Run) -> None:
        """Hear of a step."""

    def logged(self, line: dict[str, Any], run: Run) -> None:
        """Hear of a line of the log."""

    def evaluated(self, figures: dict[str, float], run: Run) -> None:
        """Hear of an evaluation."""

    def end(self, run: Run) -> None:
        """Hear that the last step was taken."""


@dataclass
class Data:
    """The sets of a run; None for one there is not."""

    train: Examples
    validation: Examples | None = None
    test: Examples | None = None


@dataclass
class Run:
    """A run that is ready to go.

    Attributes:
        figures: of the last evaluation.
        stopped: the name of the signal that ended it early.
        peak_flops: FLOPs a second that a device computes at most; None where that is not known.
        plan: what it was to take; None before its first step.
        identity: what a run that goes on with it must have in common; None before it was needed.
        noted: what `note_once` has said.
    """

    config: FinetuneConfig
    output: Path
    accelerator: Accelerator
    objective: Objective
    data: Data
    model: Any
    loop: Loop
    listener: Listener
    figures: dict[str, float] = field(default_factory=dict)
    losses: list[tuple[int, float]] = field(default_factory=list)
    stopped: str | None = None
    peak_flops: float | None = None
    plan: Plan | None = None
    identity: dict[str, Any] | None = None
    noted: set[str] = field(default_factory=set)

    @property
    def progress(self) -> Progress:
        """How far it has come."""
        return self.loop.progress

    def note_once(self, text: str) -> None:
        """Say what each evaluation would say again."""
        if text not in self.noted:
            self.noted.add(text)
            self.listener.note(text)

    def utilization(self, flops: float, seconds: float) -> float | None:
        """Return the share of the devices' peak that the model's own FLOPs are (MFU); None without a known peak."""
        if self.peak_flops is None or not seconds:
            return None
        return flops / (seconds * self.peak_flops * self.accelerator.num_processes)
