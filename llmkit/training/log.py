"""``log.jsonl``: one line a logging step, one an evaluation, written as they come."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from llmkit.data.atomic import explained_write, write_whole
from llmkit.data.encoding import dump_json
from llmkit.data.json_text import parse_json
from llmkit.training.loop import StepResult
from llmkit.training.state import LOG, Listener, Run
from llmkit.training.tracking import start_trackers, tracked


class RunLog(Listener):
    """Writes the log, and tells `listener` the same figures."""

    def __init__(self, path: Path, listener: Listener, every: int) -> None:
        self.path = path
        self.listener = listener
        self.every = every
        self._since: list[StepResult] = []
        self._run: Run | None = None

    def note(self, text: str) -> None:
        if self._run is not None:  # what is said while training is of a step
            line = {"step": self._run.progress.step, "epoch": _epoch(self._run), "note": text}
            self._append(line, self._run)
        self.listener.note(text)

    def begin(self, run: Run) -> None:
        """Drop the lines of steps that a resumed run takes again."""
        settings = run.config.model_dump(mode="json")
        start_trackers(run.accelerator, settings, run.output, resumed=run.progress.step > 0)
        kept = [line for line in read_log(self.path) if line["step"] <= run.progress.step]
        text = "".join(f"{dump_json(line)}\n" for line in kept)
        if run.accelerator.is_main_process:
            write_whole(self.path, text.encode())
        self._run = run
        self.listener.begin(run)

    def step(self, result: StepResult, run: Run) -> None:
        self._since.append(result)
        self.listener.step(result, run)
        if run.progress.step % self.every == 0 or run.progress.step == run.loop.steps.total:
            self._log_steps(run)

    def evaluated(self, figures: dict[str, float], run: Run) -> None:
        self._write({"step": run.progress.step, "epoch": _epoch(run), **figures}, run)
        self.listener.evaluated(figures, run)

    def _log_steps(self, run: Run) -> None:
        line = summary(self._since, run)
        self._since = []
        self._write(line, run)
        self.listener.logged(line, run)

    def end(self, run: Run) -> None:
        if self._since:  # a run that was stopped, or is no longer getting better
            self._log_steps(run)
        if run.config.trackers:
            run.accelerator.end_training()
        self._run = None
        self.listener.end(run)

    def _append(self, line: dict[str, Any], run: Run) -> None:
        if run.accelerator.is_main_process:
            with explained_write(self.path), self.path.open("a", encoding="utf-8") as file:
                file.write(f"{dump_json(finite(line))}\n")

    def _write(self, line: dict[str, Any], run: Run) -> None:
        self._append(line, run)
        if run.config.trackers:
            run.accelerator.log(tracked(line), step=line["step"])


def finite(figures: dict[str, Any]) -> dict[str, Any]:
    """Return figures with None for NaN and infinity, which JSON has no word for."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in figures.items()
    }


def summary(results: list[StepResult], run: Run) -> dict[str, Any]:
    """Return the figures of some steps: the mean of their losses, their tokens a second, the last of the rest."""
    last = results[-1]
    seconds = sum(result.seconds for result in results)
    tokens, padded = sum(result.tokens for result in results), sum(result.padded for result in results)
    utilization = run.utilization(sum(result.flops for result in results), seconds)
    return {
        "step": run.progress.step,
        "epoch": _epoch(run),
        "loss": sum(result.loss for result in results) / len(results),
        "grad_norm": last.gradient_norm,
        "learning_rate": last.learning_rate,
        "tokens_per_second": tokens / seconds if seconds else 0.0,
        "padding": 1 - tokens / padded if padded else 0.0,
        "tokens": run.progress.tokens,
        "flops": run.progress.flops,
        **({} if utilization is None else {"mfu": utilization}),
    }


def _epoch(run: Run) -> float:
    return round(run.progress.step / run.loop.steps.an_epoch, 4)


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a log; a line that a kill cut off is left out."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            line = parse_json(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            lines.append(finite(line))
    return lines


def log_of(output: Path) -> list[dict[str, Any]]:
    """Return the log of the run in a folder."""
    return read_log(output / LOG)
