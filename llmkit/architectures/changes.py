"""What to change in a config so that each of its numbers leaves a trace of its own, and it still makes a model.

Widths grow by multiples of what heads, groups and patches divide them by; the counts of those double or quadruple;
other counts grow a little; the layers become few. Each number has its own pattern over the rounds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import lcm

from llmkit.architectures.config_numbers import prefix_of

Numbers = Mapping[str, int | float]

FEWEST_ROUNDS = 4
WIDTH = 32  # numbers from here on are widths, unless their name says otherwise

_LAYERS = re.compile(r"(^|_)(layers?|depths?|blocks|num_stages)(\[\d+\])?$")
_SOME_LAYERS = re.compile(r"dense|first|last|skip|sparse|shared|every|n_layers_per|mtp|nextn")
# What a width is divided by, whatever its size.
_DIVIDES = re.compile(r"(^|_)(heads?|kv|groups?|patch_size|strides?|merge_size)$")
# What models lay out point by point as they are built: pairs of the points of an image, in Python, take their time.
_EXTENT = re.compile(r"image_size|resolution|height|width$")
# What is many modules, or a part of the layers: a little more is enough.
_PARTS = re.compile(
    r"^num_(?!labels|channels|mel)|^window_size$|first|last|dense|replace|layer|period|step|interval|freq"
)


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes to the numbers of one config.

    Attributes:
        fewest_layers: what each stack of layers needs; None to leave the layers as they are.
    """

    numbers: Numbers
    fewest_layers: int | None

    @property
    def rounds(self) -> int:
        """How many rounds give each count a pattern of its own; widths have theirs in any number of rounds."""
        rounds = FEWEST_ROUNDS
        while 3 ** (rounds - 1) <= len(self._names_of_counts()):
            rounds += 1
        return rounds

    def of_round(self, turn: int) -> dict[str, int | float]:
        """Return new values for all numbers; the first round leaves counts alone, which are refused more often."""
        counts = self._patterned(turn) if turn else {}
        return {**self._widths(turn), **self.layers(turn), **counts}

    def of_one(self, turn: int) -> dict[str, int | float]:
        """Return new values, of which each is to be taken alone or with few others."""
        counts = {name: self._grown(name, turn + 1) for name in self._names_of_counts()}
        return {**self._widths(turn), **self.layers(turn), **counts}

    def layers(self, turn: int) -> dict[str, int | float]:
        """Return new numbers of layers, few of them."""
        if self.fewest_layers is None:
            return {}
        names = [name for name in self.numbers if is_layer_count(name) and not self._is_stage_count(name)]
        # Three to spare, for numbers that part the layers: the first dense ones, one in so many.
        return {name: self.fewest_layers + 3 + _digit(place + 1, turn) for place, name in enumerate(names)}

    def fewer_layers(self) -> dict[str, int | float]:
        """Return as few layers as there may be, each number that is lower left as it is."""
        return {name: min(few, self.numbers[name]) for name, few in self.layers(0).items()}

    def _widths(self, turn: int) -> dict[str, int | float]:
        names = [name for name in self.numbers if not is_layer_count(name) and not self._is_count(name)]
        changed: dict[str, int | float] = {}
        for place, name in enumerate(names):
            before = int(self.numbers[name])
            divisors = [divisor for divisor in self._divisors() if before % divisor == 0]
            if _EXTENT.search(_own(name)):
                changed[name] = before + lcm(WIDTH, *divisors) * (1 + (place + turn) % FEWEST_ROUNDS)
                continue
            # A multiple of its own in each round: no two numbers keep a ratio or a difference.
            multiple = 1 + (place * (2 * turn + 1) + turn) % (len(names) + turn)
            changed[name] = before + WIDTH * lcm(*divisors) * multiple
        return changed

    def _divisors(self) -> Sequence[int]:
        return [int(value) for name, value in self.numbers.items() if divides(name) and value >= 1]

    def _patterned(self, turn: int) -> dict[str, int | float]:
        last = 3 ** (self.rounds - 1) - 1
        digits = {name: _digit(last - place, turn - 1) for place, name in enumerate(self._names_of_counts())}
        return {name: self._grown(name, digit) for name, digit in digits.items() if digit}

    def _grown(self, name: str, digit: int) -> int | float:
        value, own = self.numbers[name], _own(name)
        if divides(name) or not _PARTS.search(own):
            return value * 2**digit
        return value + digit * (8 if value >= WIDTH else 1)

    def _names_of_counts(self) -> list[str]:
        counts = [name for name in self.numbers if not is_layer_count(name) and self._is_count(name)]
        # Key and value heads must divide the heads, which thus get the larger factor in every round.
        return sorted(
            counts, key=lambda name: not ("head" in name and "kv" not in name and "key" not in name)
        )

    def _is_count(self, name: str) -> bool:
        return self.numbers[name] < WIDTH or divides(name) or bool(_PARTS.search(_own(name)))

    def _is_stage_count(self, name: str) -> bool:
        """Whether it is the length of a list that gives each stage its layers: no number of layers itself."""
        return not name.endswith("]") and any(
            other.endswith("]") and is_layer_count(other) and prefix_of(other) == prefix_of(name)
            for other in self.numbers
        )


def is_layer_count(name: str) -> bool:
    """Whether a number of the config says how many layers, blocks or stages there are, by its name."""
    own = name.rpartition(".")[2]
    return bool(_LAYERS.search(own) and not _SOME_LAYERS.search(own))


def divides(name: str) -> bool:
    """Whether a number of the config is one that widths must be multiples of, by its name."""
    return bool(_DIVIDES.search(_own(name)))


def _own(name: str) -> str:
    return name.rpartition(".")[2].partition("[")[0]


def _digit(value: int, place: int) -> int:
    """Return one ternary digit: numbers with different digits change by different patterns over the rounds."""
    return value // 3**place % 3
