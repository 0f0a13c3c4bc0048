"""What a person sees of a run: a live view on a terminal, a plain line a logging step elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llmkit.cli.answers import Answer
from llmkit.cli.channels import is_quiet, note, warn
from llmkit.cli.printable import clock
from llmkit.cli.results import fields, fields_table
from llmkit.cli.sheets import Column, Sheet

if TYPE_CHECKING:
    from llmkit.training.loop import StepResult
    from llmkit.training.state import Listener, Run

_BLOCKS = "▁▂▃▄▅▆▇█"
_CURVE_WIDTH = 60


@contextmanager
def view() -> Iterator[Listener]:
    """Give what is told of the run's progress."""
    from llmkit.training.state import Listener

    class Quiet(Listener):
        def lost(self, text: str) -> None:
            warn(text)

    if is_quiet():
        yield Quiet()
    elif sys.stderr.isatty():
        with _live() as listener:
            yield listener
    else:
        yield _lines()


def _lines() -> Listener:
    from llmkit.training.state import Listener

    class Lines(Listener):
        def note(self, text: str) -> None:
            note(text)

        def lost(self, text: str) -> None:
            warn(text)

        def begin(self, run: Run) -> None:
            note(opening(run))

        def logged(self, line: dict[str, Any], run: Run) -> None:
            note(step_line(line, run.loop.steps.total))

        def evaluated(self, figures: dict[str, float], run: Run) -> None:
            note(evaluation_line(figures, run.progress.step))

    return Lines()


def opening(run: Run) -> str:
    """Return one line on what is about to be done."""
    from llmkit.training.precision import precision_of
    from llmkit.training.zero import shape_of

    sets = [("training", run.data.train), ("validation", run.data.validation), ("test", run.data.test)]
    counts = ", ".join(f"{len(examples):,} {name}" for name, examples in sets if examples is not None)
    trained = sum(shape_of(each).numel() for each in run.model.parameters() if each.requires_grad)
    return (
        f"{run.config.task}: {counts} examples; {trained:,} parameters to train; "
        f"{run.loop.steps.total:,} steps of {run.loop.steps.batch_size} on {run.accelerator.device}, "
        f"{precision_of(run.accelerator)}."
    )


def step_line(line: dict[str, Any], total: int) -> str:
    """Return a line of the log for a person."""
    mfu = f"  MFU {line['mfu']:.0%}" if "mfu" in line else ""
    return (
        f"step {line['step']:,}/{total:,}  epoch {line['epoch']:.2f}  loss {line['loss']:.4f}  "
        f"rate {line['learning_rate']:.2e}  {line['tokens_per_second']:,.0f} tokens/s  "
        f"padding {line['padding']:.0%}{mfu}"
    )


def evaluation_line(figures: dict[str, float], step: int) -> str:
    """Return the figures of an evaluation for a person."""
    shown = "  ".join(f"{name.removeprefix('eval_')} {value:.4f}" for name, value in figures.items())
    return f"evaluation after step {step:,}: {shown}"


@contextmanager
def _live() -> Iterator[Listener]:
    from rich.console import Console
    from rich.live import Live

    from llmkit.training.state import Listener

    with Live(console=Console(stderr=True), refresh_per_second=4, transient=False) as live:

        class Screen(Listener):
            def __init__(self) -> None:
                self.started = time.monotonic()
                self.line: dict[str, Any] = {}
                self.evaluation = ""
                self.steps_here = 0

            def note(self, text: str) -> None:
                live.console.print(text, markup=False, highlight=False)

            def lost(self, text: str) -> None:
                self.note(f"warning: {text}")

            def begin(self, run: Run) -> None:
                self.note(opening(run))
                self.started = time.monotonic()

            def step(self, result: StepResult, run: Run) -> None:
                self.steps_here += 1
                live.update(self.drawing(run))

            def logged(self, line: dict[str, Any], run: Run) -> None:
                self.line = line
                live.update(self.drawing(run))

            def evaluated(self, figures: dict[str, float], run: Run) -> None:
                self.evaluation = evaluation_line(figures, run.progress.step)
                self.note(self.evaluation)

            def drawing(self, run: Run) -> Any:
                from rich.text import Text

                total, step = run.loop.steps.total, run.progress.step
                left = (time.monotonic() - self.started) / max(1, self.steps_here) * (total - step)
                text = [
                    f"{step:,}/{total:,} steps, {clock(left)} left",
                    curve([loss for _, loss in run.losses]),
                ]
                if self.line:
                    text.append(step_line(self.line, total))
                return Text("\n".join(text))

        yield Screen()


def curve(losses: Sequence[float], width: int = _CURVE_WIDTH) -> str:
    """Draw losses in one line of block characters, the newest at the right."""
    if not losses:
        return ""
    size = max(1, -(-len(losses) // width))
    means = [
        sum(losses[start : start + size]) / len(losses[start : start + size])
        for start in range(0, len(losses), size)
    ]
    low, high = min(means), max(means)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    drawn = "".join(_BLOCKS[round((mean - low) * scale)] for mean in means)
    return f"loss {high:.3f} {drawn} {means[-1]:.3f}"


def outcome_answer(found: Mapping[str, Any], output: str) -> Answer:
    """Return what a training came to in every shape that formats are made of."""
    return Answer(
        sheets=lambda: [Sheet(output, (Column(""), Column("")), fields(found))],
        objects=lambda: [found],
        rows=lambda: [found],
        single=True,
        drawing=lambda: fields_table(found, output),
    )
