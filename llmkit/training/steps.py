"""Which examples each optimizer step takes, and how they are cut into micro-batches.

Everything follows from the seed and the number of the step, so a resumed run is where it was at once. A step's
examples are drawn at random from the epoch's; only then are they sorted by length and cut, so that little is
computed on padding and the order of the data is as random as without.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from llmkit.batching import plan_least_work

if TYPE_CHECKING:
    import torch


def steps_of(share: float, steps: int) -> int:
    """Return a share of some steps, rounded up; the share is what is written: 0.07 of 100 is 7."""
    return math.ceil(Fraction(str(share)) * steps)


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step of one device.

    Attributes:
        number: from 0.
        epoch: from 0.
        micro_batches: numbers of examples that go through the device together.
        is_epochs_last: the epoch ends with this step.
    """

    number: int
    epoch: int
    micro_batches: list[list[int]]
    is_epochs_last: bool


@dataclass(frozen=True)
class Steps:
    """The steps of a run.

    Attributes:
        lengths: tokens of each training example.
        batch_size: examples a step, over all devices.
        epochs: how often each example is seen; a fraction ends within an epoch.
        max_steps: wins over `epochs`.
        max_rows: most examples of a micro-batch.
        max_tokens: most tokens of a micro-batch, padding included.
        overhead_tokens: what a micro-batch costs beside its tokens, in tokens.
        sort: cut a step's examples up by length; otherwise in the order they were drawn.
        rank: number of this device among `devices`.
    """

    lengths: Sequence[int]
    batch_size: int
    epochs: float
    seed: int
    max_rows: int
    max_tokens: int
    overhead_tokens: int = 32
    max_steps: int | None = None
    sort: bool = True
    rank: int = 0
    devices: int = 1

    @property
    def an_epoch(self) -> int:
        """Steps an epoch; the last one takes what is left."""
        return math.ceil(len(self.lengths) / self.batch_size)

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return self.max_steps if self.max_steps is not None else max(1, steps_of(self.epochs, self.an_epoch))

    def drawn(self, epoch: int, steps: int) -> list[int]:
        """Return the examples that the first steps of an epoch take, over all devices."""
        if not steps:
            return []
        return _order(len(self.lengths), self.seed, epoch)[: steps * self.batch_size].tolist()

    def at(self, number: int) -> Step:
        """Return a step by its number, from 0."""
        epoch, within = divmod(number, self.an_epoch)
        order = _order(len(self.lengths), self.seed, epoch)
        drawn = order[within * self.batch_size : (within + 1) * self.batch_size].tolist()
        mine = self._share(drawn)
        return Step(number, epoch, self._cut(mine), within == self.an_epoch - 1)

    def _share(self, drawn: list[int]) -> list[int]:
        """Deal the examples out, so that each device has about the same number of tokens."""
        if self.devices == 1:
            return drawn
        by_length = sorted(drawn, key=lambda number: (-self.lengths[number], number))
        return by_length[self.rank :: self.devices]

    def _cut(self, numbers: list[int]) -> list[list[int]]:
        lengths = [self.lengths[number] for number in numbers]
        if self.sort:
            plan = plan_least_work(
                lengths,
                max_tokens=self.max_tokens,
                max_rows=self.max_rows,
                overhead_tokens=self.overhead_tokens,
            )
        else:
            plan = _in_order(lengths, self.max_rows, self.max_tokens)
        return [[numbers[index] for index in each] for each in plan]


def _in_order(lengths: Sequence[int], max_rows: int, max_tokens: int) -> list[list[int]]:
    """Cut examples up in the order they are in, padding counted; one that is too long alone goes alone."""
    plan: list[list[int]] = []
    longest = 0
    for number, length in enumerate(lengths):
        longest = max(longest, length)
        if not plan or len(plan[-1]) == max_rows or (len(plan[-1]) + 1) * longest > max_tokens:
            plan.append([])
            longest = length
        plan[-1].append(number)
    return plan


@lru_cache(maxsize=2)
def _order(size: int, seed: int, epoch: int) -> torch.Tensor:
    """Return the numbers below `size`, (size,), in the random order of an epoch."""
    import torch

    from llmkit.training.objectives.batch import Draw

    return torch.randperm(size, generator=Draw(seed, epoch, -1).generator())
