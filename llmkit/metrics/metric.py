"""What every metric can do: take batches, be merged with its copies on other devices, and say its result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from numpy.typing import NDArray

State = dict[str, Any]
Result = dict[str, float]
Resampled = tuple[int, Callable[["NDArray[Any]"], Result]]


@runtime_checkable
class Metric(Protocol):
    """A metric that streams: it keeps sufficient statistics, not the examples.

    What a prediction and a reference are is said by the metric's row in the registry. Examples may come in any
    batches and on any device: the result is that of all of them at once, each counted as often as it was given.
    """

    @property
    def examples(self) -> int:
        """How many examples were given, here and in what was merged."""
        ...

    def update(self, predictions: Any, references: Any) -> None:
        """Take a batch: one prediction and one reference an example, in the same order.

        Args:
            predictions: a sequence, numpy array or tensor, (batch, …).
            references: the same length.

        Raises:
            DataError: they do not fit each other or this metric.
        """
        ...

    def state(self) -> State:
        """Return the statistics so far, of types that JSON has."""
        ...

    def merge(self, state: State) -> None:
        """Add the statistics of another metric of the same kind and options, as its `state` gave them."""
        ...

    def compute(self) -> Result:
        """Return the result of all examples so far; NaN where it is not defined, and `notes` say why."""
        ...

    def details(self) -> dict[str, Any]:
        """Return what is behind the result: scores of each class or type, counts, a confusion matrix."""
        ...

    def notes(self) -> list[str]:
        """Return what a reader of the result should know: why it is NaN, what was left out."""
        ...


class StreamedMetric(ABC):
    """The base of the metrics here: `Metric`, and what the bootstrap and `evaluate` ask for."""

    examples: int = 0
    """How many examples were given."""

    compute_options: ClassVar[frozenset[str]] = frozenset()
    """Options that change the result, but not the statistics: they may be chosen after the examples came."""

    @property
    @abstractmethod
    def result_keys(self) -> tuple[str, ...]:
        """The keys that a result always has."""

    @abstractmethod
    def update(self, predictions: Any, references: Any) -> None:
        """See `Metric.update`."""

    @abstractmethod
    def state(self) -> State:
        """See `Metric.state`."""

    @abstractmethod
    def merge(self, state: State) -> None:
        """See `Metric.merge`."""

    @abstractmethod
    def compute(self) -> Result:
        """See `Metric.compute`."""

    @abstractmethod
    def resampled(self, predictions: Any, references: Any) -> Resampled:
        """Work on examples of which some are drawn more than once, others never; nothing is added to this metric.

        Returns:
            The number n of examples, and a function from indices into them, (any number,), to the result.

        Raises:
            DataError: as for `update`.
        """

    def details(self) -> dict[str, Any]:
        """See `Metric.details`."""
        return {}

    def notes(self) -> list[str]:
        """See `Metric.notes`."""
        return [] if self.examples else ["there are no examples."]

    def evaluate_result(self) -> dict[str, Any]:
        """Return the result as `evaluate`'s metric of this name gives it, where that is nested."""
        return dict(self.compute())

    def undefined(self) -> Result:
        """Return the result of no examples."""
        return dict.fromkeys(self.result_keys, float("nan"))
