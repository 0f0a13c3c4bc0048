"""Probing: the same architecture built again with other numbers, to see which shapes follow which number.

By its value alone, 4,096 in Llama 2 may be `hidden_size` or `max_position_embeddings`, and 1,024 in BERT-large may
be many things. So every number of the config is changed, each by a pattern of its own over a few rebuilt models
on the meta device (`llmkit.architectures.changes`); a formula that predicts the changed shapes too is the one the
model's code follows. Where a model refuses, the numbers it refuses are found by halving and left as they are.
"""

from __future__ import annotations

import copy
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmkit.architectures.changes import Changes, is_layer_count
from llmkit.architectures.config_numbers import get, lists_of, numbers_of, prefix_of, put, put_any
from llmkit.architectures.counted import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

Rebuild = Callable[["PreTrainedConfig"], Sequence[Tensor]]

# All that rounds, and then single changes, may build: at most so many models of together so many tensors. A
# tensor is some 0.1 to 0.3 ms, so that this is about a second.
MOST_BUILDS = 24
MOST_TENSORS = 6_000
LONGEST_BUILD = 5.0  # seconds; where changed numbers make a build this slow, the others are not tried
MOST_LAYERS = 8  # a model that has a layer of its own kind further back is not cut

_LAYER_NUMBER = re.compile(r"\.(\d+)(?=\.|$)")


class Round:
    """One model: its config's numbers by name, and its tensors.

    Attributes:
        numbers: the config's numbers by name.
    """

    def __init__(self, numbers: Mapping[str, int | float], tensors: Iterable[Tensor]) -> None:
        self.numbers = numbers
        self._by_first: dict[str, Tensor] = {}
        self._by_pattern: dict[str, list[Tensor]] = defaultdict(list)
        for tensor in tensors:
            self._by_first[tensor.first] = tensor
            self._by_pattern[_pattern(tensor.first)].append(tensor)

    def tensor_at(self, first: str) -> Tensor | None:
        """Return the tensor whose first copy has this full name, or the only one that differs in numbers alone."""
        alike = self._by_pattern.get(_pattern(first), [])
        return self._by_first.get(first) or (alike[0] if len(alike) == 1 else None)

    def is_only_one(self, first: str) -> bool:
        """Whether no other tensor has this full name but for the numbers in it."""
        return len(self._by_pattern.get(_pattern(first), [])) == 1


def _pattern(name: str) -> str:
    return _LAYER_NUMBER.sub(".*", name)


@dataclass(slots=True)
class Prober:
    """Rebuilds one architecture with changed numbers.

    Attributes:
        config: the config as it is; it is never changed, copies are.
        rebuild: builds a model of a config and returns its folded tensors.
        first_names: the full name of each tensor's first copy in the model as it is.
        refused: numbers whose change the architecture does not bear.
    """

    config: PreTrainedConfig
    rebuild: Rebuild
    first_names: Sequence[str]
    refused: set[str] = field(default_factory=set)
    _changes: Changes = field(init=False)
    _builds_left: int = MOST_BUILDS
    _tensors_left: int = MOST_TENSORS

    def __post_init__(self) -> None:
        self._changes = Changes(numbers_of(self.config), _fewest_layers(self.first_names))

    def rounds(self) -> list[Round]:
        """Return the models that could be built, one a round; none where the architecture bears no change."""
        made = [
            self._bear(self._allowed(self._changes.of_round(turn))) for turn in range(self._changes.rounds)
        ]
        return [each for each in made if each is not None]

    def alone(self, names: Iterable[str]) -> dict[str, Round]:
        """Return, by name, the models in which that number alone is changed, beside fewer layers."""
        self._builds_left, self._tensors_left = MOST_BUILDS, MOST_TENSORS
        changed, fewer = self._changes.of_one(0), self._allowed(self._changes.fewer_layers())
        built = {name: self.build({**fewer, name: changed[name]}) for name in names if name in changed}
        return {name: model for name, model in built.items() if model is not None}

    def together(self, names: Iterable[str]) -> Round | None:
        """Return the model in which these numbers alone are changed, further than by `alone`."""
        changed = self._changes.of_one(1)
        return self.build(
            {**self._allowed(self._changes.fewer_layers()), **{name: changed[name] for name in names}}
        )

    def build(self, changes: Mapping[str, int | float]) -> Round | None:
        """Build with these changes, or return None where that is no model, or enough have been built."""
        if self._builds_left <= 0 or self._tensors_left <= 0:
            return None
        self._builds_left -= 1
        started = time.monotonic()
        try:
            config = self._changed(changes)
            tensors = self.rebuild(config)
        except Exception:  # a refused number may end in any error of the model's own code
            return None
        if time.monotonic() - started > LONGEST_BUILD:
            self._builds_left = 0
        self._tensors_left -= sum(tensor.copies for tensor in tensors)
        return Round(numbers_of(config), tensors)

    def _allowed(self, changes: Mapping[str, int | float]) -> dict[str, int | float]:
        return {name: value for name, value in changes.items() if name not in self.refused}

    def _bear(self, changes: dict[str, int | float]) -> Round | None:
        """Build with as many of the changes as the architecture bears; remember which it does not."""
        built = self.build(changes)
        if built is not None or len(changes) < 2:
            return built
        borne: dict[str, int | float] = {}
        waiting = _halves(list(changes.items()))
        while waiting and self._builds_left > 0:
            part = waiting.pop()
            model = self.build({**borne, **dict(part)})
            if model is not None:
                borne.update(part)
                built = model
            elif len(part) == 1:
                self.refused.add(part[0][0])
            else:
                waiting += _halves(part)
        return built

    def _changed(self, changes: Mapping[str, int | float]) -> PreTrainedConfig:
        config = copy.deepcopy(self.config)
        for name, value in changes.items():
            if is_layer_count(name) and not name.endswith("]"):
                _fit_lists(config, prefix_of(name), int(self._changes.numbers[name]), int(value))
            put(config, name, value)
        return config


def _halves(part: list[tuple[str, int | float]]) -> list[list[tuple[str, int | float]]]:
    middle = len(part) // 2
    return [part[middle:], part[:middle]]


def _fewest_layers(first_names: Iterable[str]) -> int | None:
    """Return how many layers each stack needs to have every first copy, or None for too many to cut."""
    numbers = [int(each) for name in first_names for each in _LAYER_NUMBER.findall(name)[:1]]
    fewest = max(numbers, default=0) + 1
    return fewest if fewest <= MOST_LAYERS else None


def _fit_lists(config: Any, prefix: str, before: int, after: int) -> None:
    """Make the lists with an element a layer as long as the layers are many now."""
    for path in lists_of(config.to_dict(), before, prefix):
        elements = list(get(config, path))
        put_any(config, path.split("."), [elements[at % before] for at in range(after)])
