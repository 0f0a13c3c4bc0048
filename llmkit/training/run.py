"""A run, from a checked config to a folder with the model and what is known of it."""

from __future__ import annotations

import math
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from llmkit.errors import LlmkitError, UsageError
from llmkit.launching.surroundings import LAUNCH, is_requeued
from llmkit.models.loading import choose_device
from llmkit.training.best import best_by
from llmkit.training.evaluation import judge
from llmkit.training.examples import Examples
from llmkit.training.fitting import measure, within_limits
from llmkit.training.keeping import keep_best, restore_best, resume_run, run_identity, save
from llmkit.training.log import RunLog
from llmkit.training.loop import StepResult
from llmkit.training.output import MODEL_FILES, write_best_by, write_output, write_start
from llmkit.training.planning import Pace, Plan, workload_of
from llmkit.training.preparing import is_measured, make_whole, prepare
from llmkit.training.processes import agreed, gathered, is_first, largest, meet, part, said_once
from llmkit.training.reference import add_reference
from llmkit.training.runs import has_run
from llmkit.training.sharding import is_sharded
from llmkit.training.state import CHECKPOINTS, CONFIG, COST, LOCK, LOG, METRICS, RUN, Listener, Run
from llmkit.training.stopping import StopRequest
from llmkit.training.task_metrics import notes_of, results_of

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
    meet(on_cpu=choose_device(device).type == "cpu", said=listener.lost)
    listener = listener if is_first() else Listener()
    with claimed_output(Path(config.output), resume=resume, overwrite=overwrite) as (output, resume):
        with agreed():
            log = RunLog(output / LOG, listener, config.training.logging_steps)
            run = prepare(config, output, device=device, listener=log)
            if overwrite and not resume:  # now that the new one can begin
                if is_first():
                    _clear(output)
                run.accelerator.wait_for_everyone()
            add_reference(run)
            if resume:
                resume_run(run, anyway=resume_anyway)
            if is_first():
                run_identity(run)
                write_start(run)
        with said_once():
            _train(run)
            if run.stopped is None:
                _finish(run)
    part()
    return run


@contextmanager
def claimed_output(output: Path, *, resume: bool, overwrite: bool) -> Iterator[tuple[Path, bool]]:
    """Take the output folder for this run alone; the first of its processes does so for all.

    Returns:
        The folder, and whether to go on with the run in it: also where the launcher began the run again.

    Raises:
        UsageError: it has a run in it, or another process has it.
    """
    with ExitStack() as held:
        with agreed():
            if is_first():
                resume = held.enter_context(_locked(output, resume=resume, overwrite=overwrite))
        yield output, gathered(resume)[0]


@contextmanager
def _locked(output: Path, *, resume: bool, overwrite: bool) -> Iterator[bool]:
    there = has_run(output)
    launch = os.environ.get(LAUNCH, "")
    if launch and _last_launch(output) == launch:
        resume, overwrite = there, not there
    if there and not (resume or overwrite):
        raise UsageError(
            f"{output} has a run in it already.",
            hint="Go on with it (--resume), replace it (--overwrite), or name another folder in output.",
        )
    lost = next((name for name in (*MODEL_FILES, CONFIG) if (output / name).exists()), None)
    if lost is not None and not (there or overwrite):
        raise UsageError(
            f"{output} has a {lost} in it, which is of no run and would be replaced.",
            hint="Name another folder in output, or replace it (--overwrite).",
        )
    if resume and not there and not is_requeued():
        raise UsageError(f"{output} has no run to go on with.", hint="Leave --resume out to begin one.")
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock = (output / LOCK).open("a+")
    except OSError as error:
        raise UsageError(
            f"cannot write to {output}: {error.strerror or error}.",
            hint="Name in output a folder that is there or can be made, and that you may write to.",
        ) from None
    with lock:
        if not _takes(lock):
            raise UsageError(
                f"{output} is in use by another run.", hint="Wait for it, or name another folder in output."
            )
        lock.truncate(0)
        lock.write(launch)
        lock.flush()
        yield resume


def _last_launch(output: Path) -> str | None:
    """Return whose processes had the folder last."""
    with suppress(OSError):
        return (output / LOCK).read_text(encoding="utf-8")
    return None


def _takes(lock: IO[str]) -> bool:
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
    for name in (LOG, METRICS, RUN, COST):
        (output / name).unlink(missing_ok=True)


def _train(run: Run) -> None:
    """Take the steps that are left, with evaluations and checkpoints between them."""
    settings = run.config.training
    on_cpu = run.accelerator.device.type == "cpu"
    with StopRequest() as stop:
        with _forgotten_if_refused(run):
            _rehearse(run)
            run.listener.begin(run)
            if run.progress.most_tokens is None and is_measured(run.config, on_cpu=on_cpu):
                measure(run.loop)
        run.plan = Plan(workload_of(run), Pace(run.loop))
        # Of a run that was stuck, and could not write what it came to, nothing is left but that.
        for result in () if _is_stuck(run) else run.loop.run():
            step = run.progress.step
            run.plan.pace.add(result)
            run.losses.append((step, result.loss))
            run.listener.step(result, run)
            is_last = step == run.loop.steps.total
            if run.data.validation is not None and (is_last or _due(settings.eval_steps, step, result)):
                _evaluate(run)
            if not is_last and (received := largest(stop.received or 0, run.accelerator.device)):
                run.stopped = signal.Signals(received).name
            if is_last or run.stopped or _due(settings.save_steps, step, result):
                save(run)
            if run.stopped or _is_stuck(run):
                break
    run.listener.end(run)


@contextmanager
def _forgotten_if_refused(run: Run) -> Iterator[None]:
    """Remove what `write_start` wrote where the first step is refused and nothing else is there: it blocks no call."""
    try:
        yield
    except LlmkitError:
        names = {each.name for each in run.output.iterdir()}
        if is_first() and names <= {LOCK, CONFIG, RUN, LOG, CHECKPOINTS} and not _has_checkpoint(run):
            shutil.rmtree(run.output / CHECKPOINTS, ignore_errors=True)  # what the model said at the start
            for name in (CONFIG, RUN, LOG):
                (run.output / name).unlink(missing_ok=True)
        raise


def _has_checkpoint(run: Run) -> bool:
    return any((run.output / CHECKPOINTS).glob("step-*"))


def _rehearse(run: Run) -> None:
    """Judge two examples, so that a metric that does not fit is found now and not after an epoch, or at the end.

    Raises:
        UsageError, DataError: a metric, or the one that the best model is chosen by, is not to be had.
    """
    judged = run.data.validation if run.data.validation is not None else run.data.test
    if judged is None:
        return
    figures = figures_of(run, judged.subset(list(range(min(2, len(judged))))), "eval")
    if run.data.validation is not None:
        name, sign = best_by(run.config, run.objective, figures)
        if is_first():
            write_best_by(run, name.removeprefix("eval_"), sign)


def _due(every: int | None, step: int, result: StepResult) -> bool:
    return result.step.is_epochs_last if every is None else step % every == 0


def _is_stuck(run: Run) -> bool:
    patience = run.config.training.early_stopping
    return patience is not None and run.progress.waited >= patience


def figures_of(run: Run, examples: Examples, prefix: str) -> dict[str, float]:
    """Judge the model on a set: its loss and the task's metrics, each name with `prefix` before it."""
    limits = within_limits(run.loop.steps, run.progress)
    judged = judge(
        run.loop.model,
        run.objective,
        examples,
        run.accelerator,
        max_tokens=limits.max_tokens,
        max_rows=limits.max_rows,
        seed=run.config.training.seed,
    )
    figures = {"loss": judged.loss}
    for name, result, metric, _ in results_of(run.objective, judged):
        figures |= result
        for said in notes_of(name, metric):
            run.note_once(said)
    return {f"{prefix}_{name}": value for name, value in figures.items()}


def _evaluate(run: Run) -> None:
    """Judge the weights so far, or their average, and keep them if they are the best."""
    with run.loop.average.in_place() if run.loop.average is not None else nullcontext():
        _judge_and_keep(run)


def _judge_and_keep(run: Run) -> None:
    assert run.data.validation is not None
    run.figures = figures_of(run, run.data.validation, "eval")
    name, sign = best_by(run.config, run.objective, run.figures)
    value, best = sign * run.figures[name], run.progress.best
    best = -math.inf if best is None or math.isnan(best) else best
    run.progress.waited = 0 if value > best else run.progress.waited + 1
    if value >= best:  # of equals the one that learned longer
        run.progress.best, run.progress.best_step = value, run.progress.step
        keep_best(run)
    run.listener.evaluated(run.figures, run)


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
    if is_sharded(run.model):
        make_whole(run)
    with agreed():
        if is_first():
            write_output(run)
