"""The runs in a folder, as their files tell: which are done, which go on, which are broken, and what each came to."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from llmkit.data.json_text import parse_json
from llmkit.data.yaml_text import read_yaml
from llmkit.errors import LlmkitError, UsageError, no_such, unknown
from llmkit.metrics import find_metric, metric_names, more_is_better
from llmkit.training.checkpoints import MANIFEST, STATE
from llmkit.training.log import finite, read_log
from llmkit.training.objectives import OBJECTIVES, objective_class
from llmkit.training.state import CHECKPOINTS, CONFIG, LOCK, LOG, METRICS, RUN, name_of
from llmkit.training.tracking import flat

FINISHED, RUNNING, STOPPED, BROKEN = "finished", "running", "stopped", "broken"
_EXPORTED = ("export.json", "config.json")  # what `llmkit export` writes as ONNX, and any model
_MODEL_FILES = ("model*.safetensors", "adapter_model*.safetensors")
_NO_FIGURES = ("steps", "tokens", "seconds", "step", "epoch")
_LARGEST_FIRST = ("best", "tokens_per_second", "steps")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run.

    Attributes:
        state: finished, running, stopped or broken; `why` says what is broken.
        steps: how many were taken, of `total_steps`.
        best_metric, best: the figure that the task is judged by, and its best value on the validation set.
        loss: of the last steps that were logged.
        seconds: spent on steps; of a run that goes on, up to its last checkpoint.
        begun: the time in UTC, ISO 8601.
        figures: those of metrics.json, else of the last evaluation.
        settings: the config, by dotted names.
    """

    name: str
    state: str
    why: str | None = None
    task: str | None = None
    model: str | None = None
    steps: int | None = None
    total_steps: int | None = None
    best_metric: str | None = None
    best: float | None = None
    loss: float | None = None
    tokens_per_second: float | None = None
    seconds: float | None = None
    begun: str | None = None
    figures: dict[str, float | None] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def as_object(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


class _BrokenError(Exception):
    """A folder holds no whole run; the message says why."""


def find_runs(folder: Path, names: Sequence[str] = ()) -> list[RunSummary]:
    """Return the runs in a folder, or those of some names, or the folder itself where it is a run.

    Raises:
        UsageError: there is no such folder, or none of these names in it.
    """
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is no folder." if folder.exists() else f"no folder {folder}.",
            hint="Name the one that holds the runs: llmkit runs FOLDER",
        )
    if not names and has_run(folder):
        return [read_run(folder)]
    children = {path.name: path for path in sorted(folder.iterdir()) if _is_candidate(path)}
    for name in names:
        if name not in children:
            raise unknown(f"run in {folder}", name, children)
    return [read_run(children[name]) for name in names or children]


def run_names(folder: Path) -> list[str]:
    """Return the names of what looks like a run in a folder, none where there is no such folder."""
    if not folder.is_dir():
        return []
    return [path.name for path in sorted(folder.iterdir()) if _is_candidate(path) and has_run(path)]


def _is_candidate(path: Path) -> bool:
    """Tell whether a run may be in a folder: not in one that a refused run left but for its lock, nor in an export."""
    if not path.is_dir() or path.name.startswith("."):
        return False
    return has_run(path) or not (_is_export(path) or [each.name for each in path.iterdir()] == [LOCK])


def _is_export(folder: Path) -> bool:
    """Tell whether a folder without a run is a model, as `llmkit export` writes them beside the runs."""
    return any((folder / name).exists() for name in _EXPORTED)


def has_run(folder: Path) -> bool:
    """Tell whether a run is in a folder, or was begun there."""
    return any((folder / name).exists() for name in (LOG, CHECKPOINTS, RUN))


def read_run(folder: Path) -> RunSummary:
    """Return what a folder's files say of its run; one that holds none is broken."""
    try:
        return _read(folder)
    except _BrokenError as error:
        return RunSummary(name_of(folder), BROKEN, str(error))
    except OSError as error:
        return RunSummary(name_of(folder), BROKEN, f"{error.strerror or error}: {error.filename}")


def _read(folder: Path) -> RunSummary:
    if not has_run(folder):
        raise _BrokenError("there is no run in it")
    config = _config(folder)
    log = read_log(folder / LOG)
    metrics, start = _object(folder / METRICS), _object(folder / RUN)
    progress = _object_at(_newest_state(folder), "progress")
    taken_since = _number(progress, "step", STATE) or 0
    if taken_since > (_number(metrics, "steps", METRICS) or 0):
        metrics = {}  # of the end of a run that was gone on with
    state, why = _state(folder, metrics)
    steps = [line for line in log if isinstance(line.get("loss"), int | float)]
    evaluations = [line for line in log if "eval_loss" in line]
    figures = _numbers(metrics or (evaluations[-1] if evaluations else {}))
    best_metric, best = _best(config, evaluations, figures, start)
    known = (_number(progress, "step", STATE), _number(metrics, "steps", METRICS))
    taken = max([line["step"] for line in log] + [int(each or 0) for each in known])
    seconds, tokens = (_number(progress, name, STATE) for name in ("seconds", "tokens"))
    total, begun = _number(start, "total_steps", RUN), start.get("begun")
    return RunSummary(
        name=name_of(folder),
        state=state,
        why=why,
        task=config.get("task"),
        model=_model_name(config.get("model")),
        steps=taken,
        total_steps=None if total is None else int(total),
        best_metric=best_metric,
        best=best,
        loss=steps[-1]["loss"] if steps else None,
        tokens_per_second=tokens / seconds
        if seconds and tokens
        else (_number(steps[-1], "tokens_per_second", LOG) if steps else None),
        seconds=seconds,
        begun=begun if isinstance(begun, str) else None,
        figures=figures,
        settings={name: value for name, value in flat(config).items() if name != "output"},
    )


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.exists():
        return {}  # a run of a release that wrote it at the end
    try:
        value = read_yaml(path.read_text(encoding="utf-8", errors="replace"), CONFIG).value
    except LlmkitError as error:
        raise _BrokenError(error.message) from None
    if not isinstance(value, dict) or value.get("task") not in list(OBJECTIVES):
        raise _BrokenError(f"{CONFIG} is no config of llmkit finetune")
    return value


def _object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, {} where there is none."""
    if not path.exists():
        return {}
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except ValueError:
        raise _BrokenError(f"{path.name} is damaged") from None
    if not isinstance(value, dict):
        raise _BrokenError(f"{path.name} is damaged")
    return finite(value)


def _number(found: Mapping[str, Any], name: str, file: str) -> float | None:
    """Return a number of a file, None where it is not there."""
    value = found.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise _BrokenError(f"{file} is damaged: {name} is no number")
    return value


def _object_at(path: Path | None, key: str) -> dict[str, Any]:
    found = _object(path).get(key) if path is not None else None
    return found if isinstance(found, dict) else {}


def _newest_state(folder: Path) -> Path | None:
    """Return the state of the newest checkpoint that was finished; whether it is whole is seen at a resume."""
    finished = [path.parent for path in (folder / CHECKPOINTS).glob(f"step-*/{MANIFEST}")]
    return max(finished) / STATE if finished else None


def _state(folder: Path, metrics: Mapping[str, Any]) -> tuple[str, str | None]:
    if _is_locked(folder / LOCK):
        return RUNNING, None
    if not metrics:
        return STOPPED, None if _newest_state(folder) else "no checkpoint to go on from"
    if not any(True for pattern in _MODEL_FILES for _ in folder.glob(pattern)):
        raise _BrokenError("it has figures, but its model is gone")
    return FINISHED, None


def _is_locked(path: Path) -> bool:
    """Tell whether a process holds the lock; the run that would begin just now waits for this look."""
    import fcntl

    try:
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _numbers(figures: Mapping[str, Any]) -> dict[str, float | None]:
    return {
        name: value
        for name, value in figures.items()
        if name not in _NO_FIGURES and (value is None or isinstance(value, int | float))
    }


def _best(
    config: Mapping[str, Any],
    evaluations: Sequence[Mapping[str, Any]],
    figures: Mapping[str, Any],
    start: Mapping[str, Any],
) -> tuple[str | None, float | None]:
    """Return the figure that a run is judged by, and its best value among the evaluations.

    Args:
        start: what the run said of itself at its start; one of an older release did not tell by which figure.
    """
    lines = [*evaluations, figures]
    known = {name.removeprefix("eval_") for line in lines for name in line if name.startswith("eval_")}
    told = [(start["best_by"], start.get("best_sign", 1))] if isinstance(start.get("best_by"), str) else []
    guessed = (("loss", -1) if name == "loss" else _key_of(name) for name in _judged_by(config))
    for key, sign in itertools.chain(told, guessed):
        values = [line[f"eval_{key}"] for line in lines if isinstance(line.get(f"eval_{key}"), int | float)]
        if key in known and values:
            return key, max(values, key=lambda value: sign * value)
    return None, None


def _judged_by(config: Mapping[str, Any]) -> Iterator[str]:
    """Go through the names of the metrics that may be the main one, the likeliest first."""
    training = config.get("training")
    wanted = training.get("best_metric") if isinstance(training, Mapping) else None
    if isinstance(wanted, str):
        yield wanted.removeprefix("eval_")
    own = config.get("metrics")
    yield from (name for name in own if isinstance(name, str)) if isinstance(own, list) else ()
    if config.get("task") in OBJECTIVES:
        yield from objective_class(config["task"]).metrics
    yield from metric_names()
    yield "loss"


def _key_of(name: str) -> tuple[str, int]:
    """Return the key of a metric's main value, and 1 if more of it is better, else -1."""
    try:
        entry = find_metric(name)
    except UsageError:
        return name, 1 if more_is_better(name) else -1
    return entry.main_key, 1 if entry.greater_is_better else -1


def _model_name(model: Any) -> str | None:
    name = model.get("name") if isinstance(model, Mapping) else model
    return name if isinstance(name, str) else None


_ATTRIBUTES = tuple(name for name in RunSummary.__slots__ if name not in ("figures", "settings"))


def sort_keys(runs: Sequence[RunSummary]) -> list[str]:
    """Return what runs can be sorted by: their attributes, and the figures that they have."""
    return [*_ATTRIBUTES, *sorted({name for run in runs for name in run.figures})]


def sorted_runs(runs: Sequence[RunSummary], by: str) -> list[RunSummary]:
    """Return runs sorted by a figure, the best first, or by an attribute; those that lack it come last.

    Of attributes the smallest or earliest comes first, but the most steps and the most tokens a second.

    Raises:
        UsageError: there is no such attribute, and no run has such a figure.
    """
    keys = sort_keys(runs)
    if by not in keys:
        raise no_such("--sort", by, "figure", keys)

    def value(run: RunSummary) -> Any:
        if by == "best":  # of different figures, too: the best first
            return (
                None if run.best is None else run.best * (1 if more_is_better(str(run.best_metric)) else -1)
            )
        return getattr(run, by) if by in _ATTRIBUTES else run.figures.get(by)

    known_runs = [run for run in runs if value(run) is not None]
    known_runs.sort(key=lambda run: run.name)
    known_runs.sort(key=value, reverse=_is_descending(by))
    return [*known_runs, *(run for run in runs if value(run) is None)]


def _is_descending(by: str) -> bool:
    if by in _ATTRIBUTES:
        return by in _LARGEST_FIRST
    return more_is_better(by.partition("_")[2])


def differing_settings(runs: Sequence[RunSummary]) -> dict[str, list[Any]]:
    """Return the settings that are not the same in all runs, each with its value in each; None where it is not."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    values = {name: [run.settings.get(name) for run in runs] for name in names}
    return {name: each for name, each in values.items() if any(value != each[0] for value in each)}
