"""Sums of products that give a size, of a few names that are known to move it: fused projections, mostly.

GPT-BigCode's queries with one key and value head are ``n_embd + 2 × n_embd / n_head``, Mamba 2's input projection
is the sum of five parts. Every name must be in the sum, every factor must be a plain one, and there must be more
models than factors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations
from typing import NamedTuple

from llmkit.architectures.forms import Pool, Values, is_plain, joined

MOST_NAMES = 6
MOST_TERMS = 3
MOST_TRIALS = 20_000


class _Term(NamedTuple):
    text: str
    names: frozenset[str]
    values: Values


def sums_of(pool: Pool) -> str | None:
    """Return a sum of products of all the pool's names that gives the size in every model, or None."""
    if not 0 < len(pool.values) <= MOST_NAMES:
        return None
    terms, everything, trials = list(_terms(pool)), frozenset(pool.values), 0
    for count in range(1, MOST_TERMS + 1):
        for chosen in combinations(terms, count):
            if frozenset().union(*(term.names for term in chosen)) != everything:
                continue
            trials += 1
            if trials > MOST_TRIALS:
                return None
            factors = fit([term.values for term in chosen], pool.size)
            if factors is not None and all(is_plain(factor) for factor in factors):
                return joined([(factor, term.text) for factor, term in zip(factors, chosen, strict=True)])
    return None


def _terms(pool: Pool) -> Iterator[_Term]:
    """Go through the products and quotients of the names, the shortest first."""
    items = list(pool.values.items())
    for name, values in items:
        yield _Term(name, frozenset({name}), values)
    for (one, left), (other, right) in combinations(items, 2):
        yield _Term(f"{one} × {other}", frozenset({one, other}), _multiplied(left, right))
    quotients = list(_quotients(items))
    yield from quotients
    for quotient in quotients:
        for name, values in items:
            if name not in quotient.names:
                text = f"{quotient.text} × {name}"
                yield _Term(text, quotient.names | {name}, _multiplied(quotient.values, values))


def _quotients(items: Sequence[tuple[str, Values]]) -> Iterator[_Term]:
    for one, over in items:
        for other, under in items:
            if one != other and all(b and a % b == 0 and a >= b for a, b in zip(over, under, strict=True)):
                values = tuple(a // b for a, b in zip(over, under, strict=True))
                yield _Term(f"{one} / {other}", frozenset({one, other}), values)


def _multiplied(left: Values, right: Values) -> Values:
    return tuple(a * b for a, b in zip(left, right, strict=True))


def fit(columns: Sequence[Values], size: Values) -> tuple[Fraction, ...] | None:
    """Return the factors of the columns whose sum is `size` in every model, or None.

    There must be more models than columns that tell them apart: factors that just fit prove nothing.
    """
    rows = [[Fraction(value) for value in row] for row in dict.fromkeys(zip(*columns, size, strict=True))]
    if len(rows) <= len(columns):
        return None
    for place in range(len(columns)):
        pivot = next((at for at in range(place, len(rows)) if rows[at][place] != 0), None)
        if pivot is None:
            return None
        rows[place], rows[pivot] = rows[pivot], rows[place]
        first = rows[place]
        rows[place] = first = [value / first[place] for value in first]
        for at, row in enumerate(rows):
            if at != place and row[place] != 0:
                rows[at] = [a - row[place] * b for a, b in zip(row, first, strict=True)]
    if any(row[-1] != 0 for row in rows[len(columns) :]):
        return None
    return tuple(row[-1] for row in rows[: len(columns)])
