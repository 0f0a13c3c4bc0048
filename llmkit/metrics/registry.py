"""The table of metrics, and how one is found and made.

To add a metric is to add a row and a file.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmkit.errors import UsageError, did_you_mean, unknown
from llmkit.metrics.metric import StreamedMetric
from llmkit.plugins import Table

if TYPE_CHECKING:
    import evaluate

HUB_PREFIX = "hub:"


@dataclass(frozen=True)
class MetricEntry:
    """A metric: where it is, what it takes, and which number of its result says which model is best.

    Attributes:
        name: what it is called by.
        where: ``module:class``.
        examples: what a prediction and a reference are: a key of `evaluate_metric.FEATURES`.
        main_key: the result's key that models are compared by.
        greater_is_better: whether more of it is.
        summary: one line.
        extra: the extra that it needs.
        aliases: other names, those of `evaluate` among them.
        options: what this row sets, as for the class.
    """

    name: str
    where: str
    examples: str
    main_key: str
    greater_is_better: bool
    summary: str
    extra: str | None = None
    aliases: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def metric_class(self) -> type[StreamedMetric]:
        """Return the class behind the row."""
        module, _, name = self.where.partition(":")
        found: type[StreamedMetric] = getattr(importlib.import_module(module), name)
        return found


def _averaged(name: str, where: str, summary: str) -> Iterator[MetricEntry]:
    """One row for the score of one class, and one for each mean over classes."""
    yield MetricEntry(name, where, "classes", name, True, f"{summary}, of one class (1), or by 'average'")
    for average, how in (
        ("macro", "the mean over classes"),
        ("micro", "of all classes' counts together"),
        ("weighted", "the mean over classes, weighted by how often they occur"),
    ):
        key = f"{name}_{average}"
        yield MetricEntry(
            key, where, "classes", key, True, f"{summary}, {how}", options={"average": average, "name": key}
        )


_PACKAGE = "llmkit.metrics"
_ROWS = (
    MetricEntry(
        "accuracy",
        f"{_PACKAGE}.accuracy:Accuracy",
        "classes",
        "accuracy",
        True,
        "The share of right examples",
    ),
    *_averaged("f1", f"{_PACKAGE}.label_scores:F1", "The harmonic mean of precision and recall"),
    *_averaged("precision", f"{_PACKAGE}.label_scores:Precision", "The share of the found that is right"),
    *_averaged("recall", f"{_PACKAGE}.label_scores:Recall", "The share of the right that is found"),
    MetricEntry(
        "matthews",
        f"{_PACKAGE}.matthews:Matthews",
        "classes",
        "matthews_correlation",
        True,
        "The correlation of predicted and true classes",
        aliases=("matthews_correlation", "mcc"),
    ),
    MetricEntry(
        "pearson",
        f"{_PACKAGE}.pearson:Pearson",
        "numbers",
        "pearsonr",
        True,
        "The linear correlation of predictions and references",
        aliases=("pearsonr",),
    ),
    MetricEntry(
        "spearman",
        f"{_PACKAGE}.spearman:Spearman",
        "numbers",
        "spearmanr",
        True,
        "The correlation of ranks",
        aliases=("spearmanr",),
    ),
    MetricEntry(
        "mse",
        f"{_PACKAGE}.mean_squared_error:MeanSquaredError",
        "numbers",
        "mse",
        False,
        "The mean squared error",
    ),
    MetricEntry(
        "seqeval",
        f"{_PACKAGE}.seqeval:Seqeval",
        "tags",
        "overall_f1",
        True,
        "Precision, recall and F1 of whole entities",
    ),
    MetricEntry(
        "squad", f"{_PACKAGE}.squad:Squad", "answers", "f1", True, "Exact match and F1 of answers (SQuAD 1.1)"
    ),
    MetricEntry(
        "squad_v2",
        f"{_PACKAGE}.squad_v2:SquadV2",
        "answers or none",
        "f1",
        True,
        "Exact match and F1 where some questions have no answer (SQuAD 2.0)",
    ),
    MetricEntry(
        "exact_match",
        f"{_PACKAGE}.exact_match:ExactMatch",
        "texts",
        "exact_match",
        True,
        "The share of texts that are equal",
    ),
    MetricEntry(
        "bleu",
        f"{_PACKAGE}.translation:Bleu",
        "texts with several references",
        "bleu",
        True,
        "n-grams shared with the references (sacrebleu)",
        extra="metrics",
        aliases=("sacrebleu",),
    ),
    MetricEntry(
        "chrf",
        f"{_PACKAGE}.translation:Chrf",
        "texts with several references",
        "chrf",
        True,
        "Character n-grams shared with the references (sacrebleu)",
        extra="metrics",
    ),
    MetricEntry(
        "rouge",
        f"{_PACKAGE}.rouge:Rouge",
        "texts with several references",
        "rougeL",
        True,
        "n-grams and subsequences shared with the references (rouge-score)",
        extra="metrics",
    ),
    MetricEntry(
        "perplexity",
        f"{_PACKAGE}.perplexity:Perplexity",
        "losses",
        "perplexity",
        False,
        "exp of the mean loss of a token",
    ),
    MetricEntry(
        "mrr",
        f"{_PACKAGE}.ranking:MeanReciprocalRank",
        "ranks",
        "mrr",
        True,
        "The mean of 1 / rank of the right candidate",
    ),
    *(
        MetricEntry(
            f"recall_at_{k}",
            f"{_PACKAGE}.ranking:RecallAt",
            "ranks",
            f"recall_at_{k}",
            True,
            f"How often the right candidate is among the first {k}" if k > 1 else "How often it is the first",
            options={"k": k},
        )
        for k in (1, 5, 10)
    ),
    MetricEntry(
        "reward",
        f"{_PACKAGE}.reward:Reward",
        "rewards",
        "reward_accuracy",
        True,
        "How often a preferred answer has the higher reward, and by how much",
    ),
)
_BY_NAME = Table("llmkit.metrics", {row.name: row for row in _ROWS}, MetricEntry)
_BY_ALIAS = {alias: row for row in _ROWS for alias in row.aliases}
# Of the hub's metrics, and of results beside their main value.
_LESS_IS_BETTER = frozenset(
    [
        "loss",
        "cross_entropy",
        "bits_per_token",
        "perplexity",
        "wer",
        "cer",
        "ter",
        "charcut",
        "brier_score",
        "mae",
        "mape",
        "smape",
        "mase",
        "mse",
        "rmse",
    ]
)
KINDS = frozenset(row.examples for row in _ROWS)
"""What the metrics here take; one of another package may take something else."""


def metric_names() -> list[str]:
    """Return the names of the metrics that load without a network, in the table's order."""
    return list(_BY_NAME)


def names_of_kinds(kinds: Collection[str]) -> list[str]:
    """Return the names of llmkit's own metrics that take one of these kinds."""
    return [row.name for row in _ROWS if row.examples in kinds]


def find_metric(name: str) -> MetricEntry:
    """Return the row of a metric. Nothing heavy is imported, and the hub is not asked.

    Args:
        name: one of `metric_names`, the name that `evaluate` has for it, or ``hub:NAME``.

    Raises:
        UsageError: there is none of this name; the nearest is named.
    """
    if name.startswith(HUB_PREFIX):
        return _hub_entry(name)
    if name in _BY_ALIAS:
        return _BY_ALIAS[name]
    if name in _BY_NAME:
        return _BY_NAME[name]
    hint = f"There are: {', '.join(_BY_NAME)}, and {HUB_PREFIX}NAME for one of the hub."
    raise unknown("metric", name, [*_BY_NAME, *_BY_ALIAS], hint=hint)


def load_metric(name: str, **options: Any) -> StreamedMetric:
    """Return a new metric to stream examples through.

    Args:
        name: as for `find_metric`.
        options: as for the class of the row; for ``hub:NAME`` what its ``compute`` takes.

    Raises:
        UsageError: there is no such metric or option, or an option's value is wrong.
        MissingExtraError: the metric needs a package that is not installed.
        HubError: the hub did not give the metric.
    """
    entry = find_metric(name)
    made = entry.metric_class()
    check_options(entry, options)
    return made(**{**entry.options, **options})


def evaluate_metric(name: str, **options: Any) -> evaluate.Metric:
    """Return a new metric as an `evaluate.Metric`: for `evaluate.combine`, an `Evaluator`, or code that uses them.

    It streams, too: `add_batch` keeps statistics, not examples, and `update`, `state` and `merge` are there.

    Args:
        name: as for `find_metric`.
        options: as for `load_metric`, and what `evaluate.Metric` takes (``num_process``, ``experiment_id``, …).

    Raises:
        UsageError, MissingExtraError, HubError: as `load_metric`.
    """
    from llmkit.metrics.evaluate_metric import as_evaluate_metric

    return as_evaluate_metric(find_metric(name), options)


def more_is_better(figure: str) -> bool:
    """Tell whether more of a figure is better, a metric's name or a key of its result; an unknown one is a score."""
    row = _BY_ALIAS.get(figure) or next(
        (row for row in _BY_NAME.values() if figure in (row.name, row.main_key)), None
    )
    return row.greater_is_better if row is not None else _last_part(figure) not in _LESS_IS_BETTER


def _last_part(name: str) -> str:
    return name.removeprefix(HUB_PREFIX).rpartition("/")[2]


def check_options(entry: MetricEntry, options: Mapping[str, Any]) -> None:
    """Check that the metric has these options.

    Raises:
        UsageError: it does not have one of them; the nearest is named.
    """
    parameters = inspect.signature(entry.metric_class()).parameters
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return
    known = [each for each in parameters if each != "name"]
    for option in options:
        if option not in known:
            has = f"It has {', '.join(known)}." if known else "It has none."
            raise UsageError(
                f"the metric {entry.name} has no option '{option}'.", hint=did_you_mean(option, known) or has
            )


def _hub_entry(name: str) -> MetricEntry:
    source = name.removeprefix(HUB_PREFIX)
    if not source or source.count("/") > 1 or source.startswith((".", "/")) or source.endswith("/"):
        raise UsageError(
            f"'{name}' does not name a metric of the hub.", hint="It looks like hub:NAME or hub:OWNER/NAME."
        )
    return MetricEntry(
        name,
        f"{_PACKAGE}.hub:HubMetric",
        "whatever it takes",
        _last_part(source),
        _last_part(source) not in _LESS_IS_BETTER,
        f"evaluate.load('{source}')",
        options={"source": source},
    )
