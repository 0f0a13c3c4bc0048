"""Judging any model on any data: the figures of fine-tuning with confidence intervals, and where it is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from llmkit.metrics import load_metric
from llmkit.metrics.confidence import MOST_RESAMPLES, confidence_interval
from llmkit.models.loading import LoadOptions, choose_device, load_model
from llmkit.models.tokenizing import load_tokenizer
from llmkit.training.evaluation import Judged, judge
from llmkit.training.examples import Examples, identity_of, prepare_examples, read_rows
from llmkit.training.objectives import objective_class
from llmkit.training.objectives.base import Objective
from llmkit.training.precision import make_accelerator, precision_on
from llmkit.training.preparing import micro_batch_limits, study
from llmkit.training.task_metrics import check_metrics, notes_of, results_of
from llmkit.training.trained import Asked, Trained, find_trained
from llmkit.wanted import at_least, should_be

if TYPE_CHECKING:
    from accelerate import Accelerator

Figure = float | None  # null in JSON where it is not defined
_BY_CLASS = "f1_macro"  # the metric that has the figures of each class behind it


@dataclass(frozen=True, slots=True)
class Sureness:
    """How confidence intervals are found: `resamples` of 0 for none."""

    level: float = 0.95
    resamples: int = 1000
    seed: int = 0


class Interval(TypedDict):
    """A confidence interval."""

    low: Figure
    high: Figure


class ClassFigures(TypedDict):
    """The figures of a class or a type of entity, and how many examples have it."""

    label: str | int
    precision: Figure
    recall: Figure
    f1: Figure
    support: int


class Confusion(TypedDict):
    """Examples by their expected class, a row each, and the predicted one, a column each."""

    labels: list[str]
    counts: list[list[int]]


@dataclass(frozen=True, slots=True)
class WorstExample:
    """An example that the model was wrong about, or least sure of.

    Attributes:
        place: ``reviews.csv:17``
        loss: the mean over its targets.
        input: what the task takes of the row: field -> value.
        expected, predicted: classes by their names, text as text.
        probability: how sure the model was of what it predicted; None where the task does not tell.
    """

    place: str
    loss: Figure
    input: dict[str, Any]
    expected: Any
    predicted: Any
    probability: float | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model is worth on a set.

    Attributes:
        examples: what the metrics count; a long text that was cut into parts is one where the task says so.
        metrics: the loss and the results of the metrics.
        intervals: of each result its ``{"low": …, "high": …}``.
        classes: of each class or type of entity its label, precision, recall, F1 and support.
        confusion: its labels, and counts, a row each expected class, a column each predicted one.
        worst: those with the highest loss, the highest first.
    """

    model: str
    task: str
    data: list[str]
    examples: int
    metrics: dict[str, Figure]
    intervals: dict[str, Interval]
    confidence: float
    classes: list[ClassFigures] = field(default_factory=list)
    confusion: Confusion | None = None
    worst: list[WorstExample] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_object(self) -> dict[str, Any]:
        """Return it as JSON has it: None for what is not defined."""
        return _plain(asdict(self))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def evaluate_model(
    asked: Asked,
    *,
    device: str = "auto",
    dtype: str | None = None,
    worst: int = 10,
    sureness: Sureness = Sureness(),
    heard: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Judge a model on rows, each once.

    Args:
        dtype: of the weights; None for what the run computed in, else as the model was saved.
        worst: how many of the worst examples to return.
        heard: is told how many examples are done, of how many.

    Raises:
        UsageError, DataError: the call or the data does not fit the model; the message names the place.
        ModelError: the model cannot be had, or was not trained for the task.
    """
    _check(sureness, worst)
    trained = find_trained(asked)
    for name in trained.config.metrics or ():
        load_metric(name)  # one that is not installed shows before the model is loaded
    objective = objective_class(trained.config.task)(
        trained.config, load_tokenizer(trained.resolved, trained.config.task)
    )
    objective.place_of_column = "--columns {field}=COLUMN"
    # First the model: of one that was not trained for the task, the classes are no use.
    model, accelerator = _loaded(trained, objective, device, dtype)
    examples = _examples_of(objective, trained)
    judged = _judged(model, objective, examples, accelerator, heard)
    figures, intervals, details, said = _figures(objective, judged, sureness)
    classes, confusion = _by_class(objective, judged, details)
    return Evaluation(
        model=asked.model,
        task=trained.config.task,
        data=list(trained.config.data.train),
        examples=len(judged.predictions),
        metrics={"loss": judged.loss, **figures},
        intervals=intervals,
        confidence=sureness.level,
        classes=classes,
        confusion=confusion,
        worst=list(_worst(objective, trained, examples, judged, worst)),
        notes=[*trained.notes, *objective.notes(), *said],
    )


def _check(sureness: Sureness, worst: int) -> None:
    if not 0 < sureness.level < 1:
        raise should_be(f"--confidence {sureness.level:g}", "between 0 and 1, such as 0.95")
    if not 0 <= sureness.resamples <= MOST_RESAMPLES:
        most = f"{MOST_RESAMPLES:,}"
        raise should_be(f"--resamples {sureness.resamples}", f"from 0, for no intervals, to {most}")
    at_least(0, worst, "--worst")


def _rows(objective: Objective, trained: Trained) -> Iterator[Any]:
    data = objective.config.data
    return read_rows(data.train, data.format, data.max_rows, wanted=trained.judged_set)


def _examples_of(objective: Objective, trained: Trained) -> Examples:
    """Read and tokenize the rows, their labels as the model has them."""
    study(objective, _rows(objective, trained), lambda rows: objective.adopt(trained.model_config, rows))
    check_metrics(objective)
    files = trained.config.data.train
    identity = identity_of(objective, files, {"judged": True}, wanted=trained.judged_set)
    return prepare_examples(objective, lambda: _rows(objective, trained), identity)


def _loaded(
    trained: Trained, objective: Objective, device: str, dtype: str | None
) -> tuple[Any, Accelerator]:
    """Load the model; a run's computes as it did when the run judged it, unless a dtype is named."""
    import torch
    import transformers

    chosen = choose_device(device)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    wanted = trained.config.training.precision if trained.of_run and dtype is None else "float32"
    precision = precision_on(chosen, wanted) or "float32"
    model = load_model(
        trained.resolved,
        [getattr(transformers, name) for name in objective.heads],
        LoadOptions(device=device, dtype=dtype, config=trained.model_config),
        task=trained.config.task,
        # The faster layers of inference would not compute in the precision of the run.
        speed_up=precision == "float32",
    )
    objective.set_up(model)
    accelerator = make_accelerator(precision, chosen, device_placement=False)
    return accelerator.prepare_model(model, device_placement=False, evaluation_mode=True), accelerator


def _judged(
    model: Any,
    objective: Objective,
    examples: Examples,
    accelerator: Accelerator,
    heard: Callable[[int, int], None],
) -> Judged:
    heard(0, len(examples))
    max_rows, max_tokens = micro_batch_limits(objective.config, on_cpu=accelerator.device.type == "cpu")
    return judge(
        model,
        objective,
        examples,
        accelerator,
        max_tokens=max_tokens,
        max_rows=max_rows,
        seed=objective.config.training.seed,
        closely=True,
        heard=lambda count: heard(count, len(examples)),
    )


def _figures(
    objective: Objective, judged: Judged, sureness: Sureness
) -> tuple[dict[str, float], dict[str, Interval], dict[str, Any], list[str]]:
    """Return the metrics' results, the interval of each, what is behind them, and what is to be said of them."""
    figures: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    details: dict[str, Any] = {}
    said: list[str] = []
    for name, result, metric, given in results_of(objective, judged):
        figures |= result
        said += notes_of(name, metric)
        details |= metric.details()
        if sureness.resamples:
            found = confidence_interval(
                load_metric(name),
                given.predictions,
                given.references,
                n=sureness.resamples,
                seed=sureness.seed,
                level=sureness.level,
            )
            intervals |= {key: {"low": each.low, "high": each.high} for key, each in found.items()}
    return figures, intervals, details, said


def _by_class(
    objective: Objective, judged: Judged, details: dict[str, Any]
) -> tuple[list[ClassFigures], Confusion | None]:
    """Return the figures of each class, and which was taken for which; nothing for a task without classes."""
    names = objective.facts().get("labels")
    if not names:
        return [], None
    given = objective.for_metric("classes", judged)
    is_named = bool(given.references) and isinstance(given.references[0], str)
    metric = load_metric(_BY_CLASS, labels=list(names) if is_named else list(range(len(names))))
    metric.update(given.predictions, given.references)
    found = metric.details()
    confusion: Confusion | None = None
    if "confusion_matrix" in found:
        counts = [list(row) for row in found["confusion_matrix"]["counts"]]
        confusion = {"labels": list(names), "counts": counts}
    if "types" in details:  # entities say more than the tags that they are made of
        return [
            _class_figures(kind, each, each["number"]) for kind, each in details["types"].items()
        ], confusion
    return [
        _class_figures(label if is_named else names[label], each, each["support"])
        for label, each in found["classes"].items()
    ], confusion


def _class_figures(label: str | int, figures: Mapping[str, Any], support: int) -> ClassFigures:
    return {
        "label": label,
        "precision": figures["precision"],
        "recall": figures["recall"],
        "f1": figures["f1"],
        "support": support,
    }


def _worst(
    objective: Objective, trained: Trained, examples: Examples, judged: Judged, count: int
) -> Iterator[WorstExample]:
    """Go through the examples with the highest loss; parts of one row are one, where they were settled as one."""
    if not count:
        return
    groups = _groups(examples, judged)
    losses = [sum(judged.losses[part] for part in parts) / len(parts) for parts in groups]
    order = sorted(range(len(groups)), key=lambda number: (-_ordered(losses[number]), number))[:count]
    places = {number: examples.place(groups[number][0]) for number in order}
    wanted = set(places.values())
    rows = {r.place: objective.values_of(r) for r in _rows(objective, trained) if r.place in wanted}
    for number in order:
        sure = [judged.probabilities[part] for part in groups[number]]
        yield WorstExample(
            places[number],
            losses[number],
            rows.get(places[number], {}),
            objective.readable(judged.references[number]),
            objective.readable(judged.predictions[number]),
            max((each for each in sure if each is not None), default=None),
        )


def _ordered(loss: float) -> float:
    """Return what losses are sorted by: one that is no number is the worst."""
    return float("inf") if loss != loss else loss


def _groups(examples: Examples, judged: Judged) -> list[list[int]]:
    """Return the numbers of the examples that each prediction is of."""
    if len(judged.predictions) == len(examples):
        return [[number] for number in range(len(examples))]
    groups: list[list[int]] = []
    before = None
    for number in range(len(examples)):
        place = examples.place(number)
        if place != before:
            groups.append([])
        groups[-1].append(number)
        before = place
    return groups
