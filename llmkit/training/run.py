"""A run, from a checked config to a folder with the model and what is known of it."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING

from llmkit.errors import UsageError
from llmkit.metrics import find_metric, load_metric
from llmkit.training.evaluation import judge
from llmkit.training.examples import Examples
from llmkit.training.keeping import keep_best, restore_best, resume_run, save
from llmkit.training.log import RunLog
from llmkit.training.loop import StepResult, StopRequest
from llmkit.training.output import write_output, write_start
from llmkit.training.preparing import micro_batch_limits, prepare
from llmkit.training.state import CHECKPOINTS, LOCK, LOG, METRICS, RUN, Listener, Run

if TYPE_CHECKING:
    from llmkit.training.config import FinetuneConfig

_PAUSES = (0.0, 0.05, 0.1)  # seconds


def finetune(
    config: FinetuneConfig,
    *,
    resume: bool = False,
    resume_anyway: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    listener: Listener | None = None,
) -> Run:
    """Fine-tune a model as a config says; the model and the reports are in the config's output folder afterwards.

    Args:
        resume: go on from the newest whole checkpoint in the output folder.
        resume_anyway: the same, also where config, data or tokenizer are others than it began with.
        overwrite: begin anew though the folder has a run in it.

    Raises:
        UsageError: the folder has a run already, or is in use by one.
        DataError: the data cannot be learned from; the message names the file and the line.
        ModelError: the model cannot be had, or the loss became infinite.
        OutputError: the disk is full, or the folder cannot be written.
    """
    listener = listener or Listener()
    resume = resume or resume_anyway
    with claimed_output(Path(config.output), resume=resume, overwrite=overwrite) as output:
        log = RunLog(output / LOG, listener, config.training.logging_steps)
        run = prepare(config, output, device=device, listener=log)
        if resume:
            resume_run(run, anyway=resume_anyway)
        if run.accelerator.is_main_process:
            write_start(run)
        _train(run)
        if run.stopped is None:
            _finish(run)
    return run


@contextmanager
def claimed_output(output: Path, *, resume: bool, overwrite: bool) -> Iterator[Path]:
    """Take the output folder for this run alone.

    Raises:
        UsageError: it has a run in it, or another process has it.
    """
    has_run = (output / LOG).exists() or (output / CHECKPOINTS).exists()
    if has_run and not (resume or overwrite):
        raise UsageError(
            f"{output} has a run in it already.",
            hint="Go on with it (--resume), replace it (--overwrite), or name another folder in output.",
        )
    if resume and not has_run:
        raise UsageError(f"{output} has no run to go on with.", hint="Leave --resume out to begin one.")
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock = (output / LOCK).open("w")
    except OSError as error:
        raise UsageError(f"cannot write to {output}: {error.strerror or error}.") from None
    with lock:
        if not _locked(lock):
            raise UsageError(
                f"{output} is in use by another run.", hint="Wait for it, or name another folder in output."
            )
        if overwrite and not resume:
            _clear(output)
        yield output


def _locked(lock: IO[str]) -> bool:
    """Take the lock; a look of `llmkit runs` at it, which holds it for a moment, is waited for."""
    import fcntl

    for pause in _PAUSES:
        time.sleep(pause)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        return True
    return False


def _clear(output: Path) -> None:
    """Remove what a run has written, and nothing else."""
    shutil.rmtree(output / CHECKPOINTS, ignore_errors=True)
    for name in (LOG, METRICS, RUN):
        (output / name).unlink(missing_ok=True)


def _train(run: Run) -> None:
    """Take the steps that are left, with evaluations and checkpoints between them."""
    run.listener.begin(run)
    settings = run.config.training
    with StopRequest() as stop:
        for result in run.loop.run():
            step = run.progress.step
            run.losses.append((step, result.loss))
            run.listener.step(result, run)
            is_last = step == run.loop.steps.total
            if run.data.validation is not None and (is_last or _due(settings.eval_steps, step, result)):
                _evaluate(run)
            if stop.received is not None and not is_last:
                run.stopped = stop.received.name
            if is_last or run.stopped or _due(settings.save_steps, step, result):
                save(run)
            if run.stopped or _is_stuck(run):
                break
    run.listener.end(run)


def _due(every: int | None, step: int, result: StepResult) -> bool:
    return result.step.is_epochs_last if every is None else step % every == 0


def _is_stuck(run: Run) -> bool:
    patience = run.config.training.early_stopping
    return patience is not None and run.progress.waited >= patience


def figures_of(run: Run, examples: Examples, prefix: str) -> dict[str, float]:
    """Judge the model on a set: its loss and the task's metrics, each name with `prefix` before it."""
    max_rows, max_tokens = micro_batch_limits(run.config, on_cpu=run.accelerator.device.type == "cpu")
    judged = judge(
        run.loop.model,
        run.objective,
        examples,
        run.accelerator,
        max_tokens=max_tokens,
        max_rows=max_rows,
        seed=run.config.training.seed,
    )
    figures = {"loss": judged.loss}
    for name in run.config.metrics or run.objective.metrics_for():
        metric = load_metric(name)
        given = run.objective.for_metric(name, judged)
        metric.update(given.predictions, given.references)
        figures |= metric.compute()
    return {f"{prefix}_{name}": value for name, value in figures.items()}


def _evaluate(run: Run) -> None:
    """Judge the weights so far, or their average, and keep them if they are the best."""
    with run.loop.average.in_place() if run.loop.average is not None else nullcontext():
        _judge_and_keep(run)


def _judge_and_keep(run: Run) -> None:
    assert run.data.validation is not None
    run.figures = figures_of(run, run.data.validation, "eval")
    name, sign = _best_by(run)
    value = sign * run.figures[name]
    if run.progress.best is None or value >= run.progress.best or math.isnan(run.progress.best):
        run.progress.best, run.progress.best_step, run.progress.waited = value, run.progress.step, 0
        keep_best(run)
    else:
        run.progress.waited += 1
    run.listener.evaluated(run.figures, run)


def _best_by(run: Run) -> tuple[str, int]:
    """Return the figure that the best model is chosen by, and 1 if more is better, else -1."""
    wanted = run.config.training.best_metric or run.objective.metrics_for()[0]
    wanted = wanted.removeprefix("eval_")
    if wanted == "loss":
        return "eval_loss", -1
    keys = {wanted: wanted}
    for name in run.config.metrics or run.objective.metrics_for():
        keys |= {name: find_metric(name).main_key}
    found = f"eval_{keys.get(wanted, wanted)}"
    if found not in run.figures:
        known = ", ".join(name.removeprefix("eval_") for name in run.figures)
        raise UsageError(f"training.best_metric: there is no figure {wanted!r}.", hint=f"There are: {known}")
    return found, 1 if _more_is_better(wanted) else -1


def _more_is_better(figure: str) -> bool:
    """Tell by the metric of this name; a figure that is only a part of a metric's result is a score."""
    try:
        return find_metric(figure).greater_is_better
    except UsageError:
        return True


def _finish(run: Run) -> None:
    """Write the best model, or the last where none was judged, and the final figures."""
    if run.loop.average is not None:
        run.loop.average.keep()
    is_another = restore_best(run)
    if is_another:
        run.listener.note(f"keeping the model of step {run.progress.best_step:,}, the best.")
    # A resumed run that had no step left has not judged anything yet.
    if run.data.validation is not None and (is_another or not run.figures):
        run.figures = figures_of(run, run.data.validation, "eval")
    if run.data.test is not None:
        run.figures |= figures_of(run, run.data.test, "test")
    if run.accelerator.is_main_process:
        write_output(run)
