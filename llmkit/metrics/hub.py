"""Metrics of the hub, by `evaluate.load`."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import HubError, LlmkitError, UsageError
from llmkit.metrics.inputs import paired
from llmkit.metrics.metric import Resampled, Result, State, StreamedMetric

if TYPE_CHECKING:
    from numpy.typing import NDArray

HUB_SECONDS = 30.0
"""How long the hub is given to send a metric's script, in seconds."""


class HubMetric(StreamedMetric):
    """A metric of the hub. Its script runs here: naming it with ``hub:`` is the word to do so.

    Nothing is known about its statistics: predictions and references are kept until the end.

    Args:
        source: NAME or OWNER/NAME.
        options: for its ``compute``.

    Raises:
        HubError: the hub did not give it in time, and the cache has none.
        LlmkitError: its script did not load.
    """

    def __init__(self, source: str, **options: Any) -> None:
        self.source, self.options = source, options
        self.module = load_from_hub(source)
        self.predictions: list[Any] = []
        self.references: list[Any] = []

    @property
    def result_keys(self) -> tuple[str, ...]:
        return (self.source.rpartition("/")[2],)

    def update(self, predictions: Any, references: Any) -> None:
        predictions, references = paired(predictions, references)
        self._add(predictions, references)

    def state(self) -> State:
        return {"predictions": list(self.predictions), "references": list(self.references)}

    def merge(self, state: State) -> None:
        self._add(state["predictions"], state["references"])

    def compute(self) -> Result:
        """Return the numbers of its result; `details` has the rest."""
        return (
            _numbers(self._computed(self.predictions, self.references)) if self.examples else self.undefined()
        )

    def details(self) -> dict[str, Any]:
        result = self._computed(self.predictions, self.references) if self.examples else {}
        numbers = _numbers(result)
        return {key: value for key, value in result.items() if key not in numbers}

    def evaluate_result(self) -> dict[str, Any]:
        return self._computed(self.predictions, self.references)

    def resampled(self, predictions: Any, references: Any) -> Resampled:
        predictions, references = paired(predictions, references)

        def at(indices: NDArray[Any]) -> Result:
            chosen = indices.tolist()
            return _numbers(self._computed([predictions[i] for i in chosen], [references[i] for i in chosen]))

        return len(predictions), at

    def _add(self, predictions: list[Any], references: list[Any]) -> None:
        self.predictions.extend(predictions)
        self.references.extend(references)
        self.examples = len(self.references)

    def _computed(self, predictions: list[Any], references: list[Any]) -> dict[str, Any]:
        try:
            found = self.module.compute(predictions=predictions, references=references, **self.options)
        except Exception as error:
            raise LlmkitError(f"the metric hub:{self.source} failed: {error}") from error
        return dict(found or {})


def load_from_hub(source: str) -> Any:
    """Return the `evaluate.EvaluationModule` of the hub or of evaluate's cache.

    Raises:
        HubError: the hub did not give it in time, and the cache has none.
        LlmkitError: its script did not load: a package is missing, the script is broken.
        UsageError: a folder here is in its way.
    """
    name = source.rpartition("/")[2]
    if (Path(source) / f"{name}.py").is_file():
        raise UsageError(
            f"evaluate would load the script {source}/{name}.py of this folder instead of hub:{source}.",
            hint="Run llmkit in another folder.",
        )
    # Not within the time that the hub is given: it takes seconds, and has nothing to do with the hub.
    import evaluate  # noqa: F401

    outcome: list[Any] = []

    def load() -> None:
        try:
            outcome.append(_loaded(source))
        except Exception as error:
            outcome.append(error)

    # No timeout of a client bounds a name server or a slow drip: a thread that is left behind does.
    loading = threading.Thread(target=load, daemon=True)
    loading.start()
    loading.join(HUB_SECONDS)
    result = outcome[0] if outcome else TimeoutError()
    if isinstance(result, Exception):
        raise _said(source, result) from result
    return result


def _loaded(source: str) -> Any:
    import evaluate

    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        evaluate.config.HF_EVALUATE_OFFLINE = True
    return evaluate.load(source)


def _said(source: str, error: Exception) -> LlmkitError:
    import evaluate

    # evaluate says "not found" for everything that went wrong on the way.
    if isinstance(error, TimeoutError):
        reason = f"the hub did not send it within {HUB_SECONDS:g} seconds"
    elif isinstance(error, FileNotFoundError | ConnectionError):
        offline = evaluate.config.HF_EVALUATE_OFFLINE
        reason = (
            "llmkit is offline (HF_HUB_OFFLINE)" if offline else "the hub does not have it or did not answer"
        )
    else:
        return LlmkitError(f"the metric hub:{source} cannot be loaded: {error}")
    return HubError(
        f"the metric hub:{source} is not in the cache, and {reason}.",
        hint="The metrics of llmkit itself need no network: leave out 'hub:' for one of those.",
    )


def _numbers(result: dict[str, Any]) -> Result:
    plain = {key: value.item() if hasattr(value, "item") else value for key, value in result.items()}
    return {key: float(value) for key, value in plain.items() if isinstance(value, int | float)}
