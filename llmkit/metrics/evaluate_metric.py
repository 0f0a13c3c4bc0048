"""A metric of the registry as an `evaluate.Metric`.

Imported only when one is asked for: `evaluate` brings datasets and pandas with it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import evaluate
from datasets import Features, Sequence, Value

from llmkit.errors import UsageError
from llmkit.metrics.metric import State, StreamedMetric
from llmkit.metrics.registry import MetricEntry, check_options, load_metric
from llmkit.metrics.summed import SummedMetric

_INTEGER, _FLOAT, _STRING = Value("int64"), Value("float64"), Value("string")
_ANSWERS = {"id": _STRING, "answers": Sequence({"text": _STRING, "answer_start": Value("int32")})}


def _alike(feature: Any) -> Features:
    return Features({"predictions": feature, "references": feature})


FEATURES: dict[str, list[Features]] = {
    "classes": [_alike(_INTEGER), _alike(Sequence(_INTEGER)), _alike(_STRING)],
    "numbers": [_alike(_FLOAT), _alike(Sequence(_FLOAT))],
    "tags": [_alike(Sequence(_STRING))],
    "texts": [_alike(_STRING)],
    "texts with several references": [
        Features({"predictions": _STRING, "references": Sequence(_STRING)}),
        _alike(_STRING),
    ],
    "answers": [
        Features({"predictions": {"id": _STRING, "prediction_text": _STRING}, "references": _ANSWERS})
    ],
    "answers or none": [
        Features(
            {
                "predictions": {
                    "id": _STRING,
                    "prediction_text": _STRING,
                    "no_answer_probability": Value("float32"),
                },
                "references": _ANSWERS,
            }
        )
    ],
    "losses": [Features({"predictions": _FLOAT, "references": _INTEGER})],
    "ranks": [_alike(_INTEGER)],
    "rewards": [_alike(_FLOAT)],
}
"""What predictions and references are, by a row's `examples`, as `evaluate` says it."""

_OF_EVALUATE = set(inspect.signature(evaluate.Metric.__init__).parameters) - {"self", "kwargs"}


class EvaluateMetric(evaluate.Metric):
    """A metric of `evaluate` that streams: what it is given becomes statistics at once, and no file is written.

    Only with ``num_process`` > 1 are examples kept in files, as `evaluate` does, for its processes to meet there.
    """

    entry: ClassVar[MetricEntry]

    def __init__(self, options: Mapping[str, Any], **of_evaluate: Any) -> None:
        self.options = dict(options)
        self.stream = self._open()
        super().__init__(**of_evaluate)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=f"{self.entry.summary}.",
            citation="",
            inputs_description=inspect.getdoc(type(self.stream)) or "",
            features=FEATURES[self.entry.examples],
        )

    def _build_data_dir(self) -> str:
        return cast(str, super()._build_data_dir()) if self.num_process > 1 else ""

    def __len__(self) -> int:
        return self.examples if self.num_process == 1 else super().__len__()

    @property
    def examples(self) -> int:
        """How many examples were given since the last `compute`."""
        return self.stream.examples

    def update(self, predictions: Any, references: Any) -> None:
        """See `Metric.update`."""
        self.stream.update(predictions, references)

    def state(self) -> State:
        """See `Metric.state`."""
        return self.stream.state()

    def merge(self, state: State) -> None:
        """See `Metric.merge`."""
        self.stream.merge(state)

    def details(self) -> dict[str, Any]:
        """See `Metric.details`."""
        return self.stream.details()

    def notes(self) -> list[str]:
        """See `Metric.notes`."""
        return self.stream.notes()

    def add_batch(self, *, predictions: Any = None, references: Any = None, **others: Any) -> None:
        """Take a batch."""
        _refuse(others)
        if self.num_process > 1:
            super().add_batch(predictions=predictions, references=references)
        else:
            self.update(predictions, references)

    def add(self, *, prediction: Any = None, reference: Any = None, **others: Any) -> None:
        """Take one example."""
        _refuse(others)
        if self.num_process > 1:
            super().add(prediction=prediction, reference=reference)
        else:
            self.update([prediction], [reference])

    def compute(
        self, *, predictions: Any = None, references: Any = None, **options: Any
    ) -> dict[str, Any] | None:
        """Return the result of everything since the last call, and of these examples.

        Options may be given here as well; those that change what is counted, only when no examples came before.
        None in a process that is not the first, with `num_process` > 1.
        """
        if self.num_process > 1:
            return cast(
                "dict[str, Any] | None",
                super().compute(predictions=predictions, references=references, **options),
            )
        stream = self._with_options(options)
        if isinstance(stream, SummedMetric):
            stream.checks_at_once = True
            stream.check(())
        if predictions is not None or references is not None:
            stream.update(predictions, references)
        self.stream = self._open()
        return stream.evaluate_result()

    def _compute(self, *, predictions: Any, references: Any, **options: Any) -> dict[str, Any]:
        stream = self._fresh(options)
        stream.update(predictions, references)
        return stream.evaluate_result()

    def _open(self) -> StreamedMetric:
        """Return the metric for examples whose options may still come, with `compute`: what fits shows then."""
        stream = self._fresh({})
        if isinstance(stream, SummedMetric) and stream.compute_options:
            stream.checks_at_once = False
        return stream

    def _fresh(self, options: Mapping[str, Any]) -> StreamedMetric:
        return load_metric(self.entry.name, **(self.options | dict(options)))

    def _with_options(self, options: Mapping[str, Any]) -> StreamedMetric:
        if not options:
            return self.stream
        stream = self._fresh(options)
        late = sorted(set(options) - stream.compute_options)
        if late and self.examples:
            raise UsageError(
                f"the option '{late[0]}' of {self.entry.name} comes too late: examples have been counted without it.",
                hint=f"Give it before: evaluate_metric('{self.entry.name}', {late[0]}=…).",
            )
        stream.merge(self.stream.state())
        return stream


def as_evaluate_metric(entry: MetricEntry, options: Mapping[str, Any]) -> evaluate.Metric:
    """Return a new `evaluate.Metric` of the row; for ``hub:NAME`` the hub's own.

    Raises:
        UsageError, MissingExtraError, HubError: as `registry.load_metric`.
    """
    if "source" in entry.options:
        from llmkit.metrics.hub import load_from_hub

        if options:
            raise UsageError(f"give the options of {entry.name} to its compute.")
        return load_from_hub(entry.options["source"])
    of_evaluate = {key: value for key, value in options.items() if key in _OF_EVALUATE}
    own = {key: value for key, value in options.items() if key not in _OF_EVALUATE}
    check_options(entry, own)
    # evaluate takes the metric's name from the name of its class.
    made: type[EvaluateMetric] = type(
        entry.name.capitalize(), (EvaluateMetric,), {"entry": entry, "__doc__": entry.summary}
    )
    return made(own, **of_evaluate)


def _refuse(others: Mapping[str, Any]) -> None:
    if others:
        raise UsageError(f"a metric takes predictions and references, not '{next(iter(others))}'.")
