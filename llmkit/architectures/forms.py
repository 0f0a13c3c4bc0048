"""The forms a formula can have: ways to put names of the config together, each giving what fits the sizes.

A form sees one size in several models, and the values that the config's names have there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import isqrt, prod

from llmkit.architectures.algebra import number
from llmkit.architectures.config_numbers import prefix_of

Values = tuple[int | float, ...]

PLAIN_FACTORS = frozenset({2, 3, 4, 8, 16})
LARGEST_FACTOR = 64
LARGEST_OFFSET = 64
MOST_FOR_TRIPLES = 40

_COUNT = re.compile(r"^(num|n)_|ratio|factor|expan|mult")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A formula that fits, and the names in it."""

    formula: str
    names: tuple[str, ...]


@dataclass(slots=True)
class Pool:
    """The names to build from with their values in the models at hand, and the size in each of these."""

    values: Mapping[str, Values]
    size: Values

    @property
    def moving(self) -> Mapping[str, Values]:
        """The names whose value is not the same everywhere."""
        return {name: values for name, values in self.values.items() if len(set(values)) > 1}


Form = Callable[[Pool], Iterator[Candidate]]


def _name(pool: Pool) -> Iterator[Candidate]:
    yield from (Candidate(name, (name,)) for name, values in pool.values.items() if values == pool.size)


def _plain_multiple(pool: Pool) -> Iterator[Candidate]:
    yield from _multiples(pool, lambda ratio: ratio in PLAIN_FACTORS or 1 / ratio in PLAIN_FACTORS)


def _any_multiple(pool: Pool) -> Iterator[Candidate]:
    yield from _multiples(
        pool, lambda ratio: ratio.numerator <= LARGEST_FACTOR and ratio.denominator <= LARGEST_FACTOR
    )


def _multiples(pool: Pool, wanted: Callable[[Fraction], bool]) -> Iterator[Candidate]:
    for name, values in pool.values.items():
        ratio = _ratio(pool.size, values)
        if ratio is not None and wanted(ratio):
            yield Candidate(_scaled(ratio, name), (name,))


def _product(pool: Pool) -> Iterator[Candidate]:
    yield from _products(pool, lambda ratio: ratio == 1)


def _multiple_of_product(pool: Pool) -> Iterator[Candidate]:
    yield from _products(pool, lambda ratio: ratio in PLAIN_FACTORS or 1 / ratio in PLAIN_FACTORS)


def _products(pool: Pool, wanted: Callable[[Fraction], bool]) -> Iterator[Candidate]:
    for (one, left), (other, right) in combinations(pool.values.items(), 2):
        product = tuple(a * b for a, b in zip(left, right, strict=True))
        ratio = _ratio(pool.size, product)
        if ratio is not None and wanted(ratio):
            names = _in_order((one, other))
            yield Candidate(_scaled(ratio, " × ".join(names)), names)


def _quotient(pool: Pool) -> Iterator[Candidate]:
    for one, other, values in _quotients(pool, exact=False):
        if values == pool.size:
            text = f"{one} / {other}"
            yield Candidate(text if _is_exact(pool, one, other) else f"⌊{text}⌋", (one, other))


def _is_exact(pool: Pool, one: str, other: str) -> bool:
    """Whether the model at hand divides without a rest; where it rounds down, that is shown: 384 / 14 is not 27."""
    return pool.values[one][0] % pool.values[other][0] == 0


def _multiple_of_quotient(pool: Pool) -> Iterator[Candidate]:
    for one, other, values in _quotients(pool, exact=True):
        ratio = _ratio(pool.size, values)
        if ratio is not None and ratio in PLAIN_FACTORS:
            yield Candidate(f"{number(ratio)} × {one} / {other}", (one, other))


def _quotients(pool: Pool, *, exact: bool) -> Iterator[tuple[str, str, Values]]:
    """Go through the quotients of two numbers of one config that are 1 or more, rounded down unless `exact`."""
    for one, over in pool.values.items():
        for other, under in pool.values.items():
            if one == other or prefix_of(one) != prefix_of(other):
                continue
            if all(a >= b and not (exact and a % b) for a, b in zip(over, under, strict=True)):
                yield one, other, tuple(a // b for a, b in zip(over, under, strict=True))


def _distances(pool: Pool) -> Iterator[Candidate]:
    """How far apart two patches of a row may be, to either side: a table of relative positions has its square."""
    for one, other, values in _quotients(pool, exact=False):
        if tuple(2 * each - 1 for each in values) == pool.size:
            text = f"{one} / {other}"
            patches = f"({text})" if _is_exact(pool, one, other) else f"⌊{text}⌋"
            yield Candidate(f"2 × {patches} − 1", (one, other))


def _triple(pool: Pool) -> Iterator[Candidate]:
    for names in combinations(list(pool.moving)[:MOST_FOR_TRIPLES], 3):
        product = tuple(prod(each) for each in zip(*(pool.values[name] for name in names), strict=True))
        ratio = _ratio(pool.size, product)
        if ratio is not None and (ratio == 1 or ratio in PLAIN_FACTORS):
            yield Candidate(_scaled(ratio, " × ".join(_in_order(names))), names)


def _share(pool: Pool) -> Iterator[Candidate]:
    """A width shared out among one count and taken another number of times: key and value heads."""
    for one, other, quotient in _quotients(Pool(pool.moving, pool.size), exact=True):
        wanted = tuple(size / each for size, each in zip(pool.size, quotient, strict=True))
        for times, values in pool.moving.items():
            if times not in (one, other) and values == wanted:
                yield Candidate(f"{one} / {other} × {times}", (one, other, times))


def _times_other(pool: Pool) -> Iterator[Candidate]:
    """A count of parts that are made of several: the heads of latent attention, the patches that are merged."""
    for name, values in pool.moving.items():
        if any(not value or size % value for size, value in zip(pool.size, values, strict=True)):
            continue
        inner = Pool(pool.values, tuple(size // value for size, value in zip(pool.size, values, strict=True)))
        for candidate in (*_sum_of_two(inner), *_offset(inner)):
            yield Candidate(f"{name} × ({candidate.formula})", (name, *candidate.names))
        for candidate in _square(inner):
            if candidate.formula.endswith("²"):
                yield Candidate(f"{name} × {candidate.formula}", (name, *candidate.names))


def _offset(pool: Pool) -> Iterator[Candidate]:
    for name, values in pool.moving.items():
        fitted = _fit_two(values, (1,) * len(values), pool.size)
        if fitted is None:
            continue
        ratio, offset = fitted
        if is_plain(ratio) and ratio > 0 and offset.denominator == 1 and 0 < abs(offset) <= LARGEST_OFFSET:
            yield Candidate(joined([(ratio, name), (offset, "")]), (name,))


def _square(pool: Pool) -> Iterator[Candidate]:
    for offset in range(-1, 5):
        roots = tuple(isqrt(max(int(size) - offset, 0)) for size in pool.size)
        if any(root * root + offset != size for root, size in zip(roots, pool.size, strict=True)):
            continue
        if len(set(roots)) == 1:
            continue
        inner = Pool(pool.values, roots)
        for form in (_name, _plain_multiple, _quotient, _offset, _distances):
            for candidate in form(inner):
                is_whole = form is _name or candidate.formula.startswith("⌊")
                bare = candidate.formula if is_whole else f"({candidate.formula})"
                yield Candidate(f"{bare}²{_tail(offset)}", candidate.names)


def _tail(offset: int) -> str:
    return "" if offset == 0 else f" + {offset}" if offset > 0 else f" − {-offset}"


def _sum_of_two(pool: Pool) -> Iterator[Candidate]:
    for names in combinations(pool.moving, 2):
        fitted = _fit_two(pool.values[names[0]], pool.values[names[1]], pool.size)
        if fitted is not None and all(is_plain(each) for each in fitted):
            yield Candidate(joined(list(zip(fitted, names, strict=True))), names)


def _difference(pool: Pool) -> Iterator[Candidate]:
    for one, more in pool.moving.items():
        for other, less in pool.moving.items():
            is_same_config = prefix_of(one) == prefix_of(other)
            if is_same_config and tuple(a - b for a, b in zip(more, less, strict=True)) == pool.size:
                yield Candidate(f"{one} − {other}", (one, other))


def _in_order(names: tuple[str, ...]) -> tuple[str, ...]:
    """Put counts before what they count: ``num_attention_heads × head_dim``."""
    return tuple(sorted(names, key=lambda name: not _COUNT.search(name.rpartition(".")[2])))


# In the order of how simple they are; the first with anything that fits is taken.
FORMS: tuple[Form, ...] = (
    _name,
    _plain_multiple,
    _product,
    _quotient,
    _multiple_of_product,
    _multiple_of_quotient,
    _offset,
    _square,
    _sum_of_two,
    _any_multiple,
    _share,
    _triple,
    _times_other,
)
# Few models tell little: they bear out simple forms only. And copies are counts, never squares of them.
SIMPLE_FORMS = FORMS[:4]
FORMS_OF_REPEATS: tuple[Form, ...] = (
    _name,
    _difference,
    _plain_multiple,
    _product,
    _quotient,
    _offset,
    _sum_of_two,
)
# By value alone, anything fits anything: only what is usual; numbers that could not be changed, as they are.
FORMS_BY_VALUE: tuple[Form, ...] = (_name, _product, _plain_multiple)


def _fit_two(one: Values, other: Values, size: Values) -> tuple[Fraction, Fraction] | None:
    """Return the two factors that give the size in every model, or None; three models must tell them apart."""
    first = (one[0], other[0], size[0])
    for a, b, c in zip(one[1:], other[1:], size[1:], strict=True):
        determinant = first[0] * b - a * first[1]
        if determinant:
            left, right = first[2] * b - c * first[1], first[0] * c - a * first[2]
            break
    else:
        return None
    rows = set(zip(one, other, size, strict=True))
    if len(rows) < 3 or any(left * a + right * b != determinant * c for a, b, c in rows):
        return None
    return Fraction(left) / Fraction(determinant), Fraction(right) / Fraction(determinant)


def _ratio(size: Values, values: Values) -> Fraction | None:
    """Return what the values are multiplied by to give the sizes, the same in every model, or None."""
    if not values[0] or any(
        mine * values[0] != size[0] * theirs for mine, theirs in zip(size[1:], values[1:], strict=True)
    ):
        return None
    return Fraction(size[0]) / Fraction(values[0])


def is_plain(factor: Fraction) -> bool:
    """Whether a factor is one that a model's code would have: a small number or a half."""
    return factor != 0 and abs(factor.numerator) <= 8 and factor.denominator in (1, 2)


def _scaled(ratio: Fraction, text: str) -> str:
    over = f"{number(ratio.numerator)} × {text}" if ratio.numerator != 1 else text
    return over if ratio.denominator == 1 else f"{over} / {number(ratio.denominator)}"


def joined(terms: list[tuple[Fraction, str]]) -> str:
    """Write a sum: terms with their factors, positive ones first; a term without a name is a number."""
    parts: list[str] = []
    for factor, name in sorted(terms, key=lambda term: term[0] < 0):
        text = _scaled(abs(factor), name) if name else number(abs(factor))
        sign = "−" if factor < 0 else "+"
        parts.append(f"{sign} {text}" if parts else text if factor > 0 else f"0 − {text}")
    return " ".join(parts)
