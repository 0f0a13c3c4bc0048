"""The search for a formula: the simplest form that gives a size in every model that was built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llmkit.architectures.algebra import number
from llmkit.architectures.forms import (
    FORMS,
    FORMS_BY_VALUE,
    FORMS_OF_REPEATS,
    SIMPLE_FORMS,
    Candidate,
    Form,
    Pool,
)
from llmkit.architectures.preferences import FAR, Context, is_usual, preference
from llmkit.architectures.sums import sums_of

Sizes = tuple[int | None, ...]  # of one dimension, a model each; None where that model lacks the tensor
Numbers = Mapping[str, int | float]

FEW = 4  # a size up to this is more often the model's own (a gate, a pair, a kernel) than a number of the config
ENOUGH = 4  # models, the counted one among them, that bear out any form


@dataclass(slots=True)
class Search:
    """Finds formulas for sizes over models.

    Attributes:
        numbers: the config's numbers by name, a mapping a model; the first model is the one that is counted.
    """

    numbers: Sequence[Numbers]
    _found: dict[tuple[Sizes, tuple[object, ...]], str | None] = field(default_factory=dict)

    def find(self, sizes: Sizes, context: Context) -> str | None:
        """Return the simplest formula that gives these sizes, or None; a number where nothing moves the size."""
        key = (sizes, context.key)
        if key not in self._found:
            self._found[key] = self._find(sizes, context)
        return self._found[key]

    def among(self, names: Sequence[str], sizes: Sizes, context: Context) -> str | None:
        """Return the simplest formula of all these names, and no others, that gives the sizes, or None."""
        known = _known(sizes)
        pool = self._pool(known, sizes, frozenset(names))
        return _best(FORMS, pool, context) or sums_of(pool)

    def _find(self, sizes: Sizes, context: Context) -> str | None:
        known = _known(sizes)
        pool = self._pool(known, sizes)
        if len(set(pool.size)) == 1:
            return self._by_value(pool, context)
        forms = FORMS_OF_REPEATS if context.is_repeat else FORMS
        near = frozenset(name for name in pool.values if preference(name, context) < FAR)
        formula = _best(
            forms if len(known) >= ENOUGH else SIMPLE_FORMS, self._pool(known, sizes, near), context
        )
        return formula or _best(SIMPLE_FORMS, pool, context)

    def _by_value(self, pool: Pool, context: Context) -> str:
        """Choose among numbers that could not be changed, or by value alone where no other model could be built."""
        size = int(pool.size[0])
        if size == 1 or (size <= FEW and not context.is_table):
            return number(size)
        if len(self.numbers) == 1:
            return _best(FORMS_BY_VALUE, pool, context) or number(size)
        usual = {name: values for name, values in pool.values.items() if is_usual(name, context)}
        return _best(FORMS_BY_VALUE[:1], Pool(usual, pool.size), context) or number(size)

    def _pool(self, known: Sequence[int], sizes: Sizes, names: frozenset[str] | None = None) -> Pool:
        values = {
            name: tuple(self.numbers[turn][name] for turn in known)
            for name in self.numbers[0]
            if (names is None or name in names) and all(name in self.numbers[turn] for turn in known)
        }
        return Pool(values, tuple(sizes[turn] or 0 for turn in known))


def _known(sizes: Sizes) -> list[int]:
    return [turn for turn, size in enumerate(sizes) if size is not None]


def _best(forms: Sequence[Form], pool: Pool, context: Context) -> str | None:
    order = {name: place for place, name in enumerate(pool.values)}

    def rank(candidate: Candidate) -> tuple[object, ...]:
        preferences = [preference(name, context) for name in candidate.names]
        return max(preferences), sum(preferences), [order[name] for name in candidate.names]

    for form in forms:
        fitting = list(form(pool))
        if fitting:
            return min(fitting, key=rank).formula
    return None
