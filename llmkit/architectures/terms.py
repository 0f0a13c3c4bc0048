"""Sums of products in the config's names, like terms collected: how the tensors of a row become one formula.

A term is a whole number times factors; a factor is a name, or what cannot be taken apart, in brackets:
``(max_position_embeddings + 2)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from math import gcd

from llmkit.architectures.algebra import (
    TIMES,
    Chain,
    Expression,
    Floor,
    Name,
    Number,
    Square,
    number,
    parse,
    show,
    work_out,
)

_LITTLE = frozenset({"1", "2", "3", "4"})


@dataclass(frozen=True, slots=True)
class Term:
    """A whole number times factors; the order of the factors is how they are shown, and says nothing else."""

    count: int
    factors: tuple[Expression, ...]

    @property
    def kind(self) -> tuple[str, ...]:
        """What like terms have in common."""
        return tuple(sorted(show(factor) for factor in self.factors))


def term_of(formulas: Iterable[str]) -> Term:
    """Return the product of formulas as one term.

    Raises:
        ValueError: one of them is not a formula.
    """
    count, factors = 1, []
    for formula in formulas:
        expression = parse(formula)
        for factor in _factors(expression):
            # A number of its own is a size, and is shown as one: a kernel of ``7 × 7``.
            is_size = factor is expression and formula not in _LITTLE
            if isinstance(factor, Number) and factor.value.denominator == 1 and not is_size:
                count *= int(factor.value)
            else:
                factors.append(factor)
    return Term(count, tuple(factors))


def collect(terms: Iterable[Term]) -> list[Term]:
    """Return the terms with like ones added, products of more factors first."""
    collected: dict[tuple[str, ...], Term] = {}
    for term in terms:
        before = collected.get(term.kind)
        collected[term.kind] = Term(term.count + (before.count if before else 0), (before or term).factors)
    return sorted(collected.values(), key=lambda term: -len(term.factors))


def show_terms(terms: Sequence[Term], name: Callable[[str], str] = str) -> str:
    """Write a sum of terms, a number that all of them share before a bracket: ``4 × (a × a + a)``.

    Args:
        name: what to write for a name; its value, for the formula in numbers.
    """
    common = reduce(gcd, (term.count for term in terms), 0)
    if len(terms) < 2 or common == 1:
        return " + ".join(_show(term.count, term.factors, name) for term in terms) or "0"
    inner = " + ".join(_show(term.count // common, term.factors, name) for term in terms)
    return f"{number(common)} {TIMES} ({inner})"


def value_of_terms(terms: Iterable[Term], value_of: Callable[[str], int | float]) -> int:
    """Return the value of a sum of terms.

    Raises:
        KeyError: `value_of` does not know a name.
    """
    return int(work_out(parse(show_terms(list(terms))), value_of))


def _factors(expression: Expression) -> Iterator[Expression]:
    """Take a product apart; a division stays whole, for it is rounded down."""
    is_product = isinstance(expression, Chain) and all(operator == TIMES for operator, _ in expression.rest)
    if isinstance(expression, Chain) and is_product:
        for part in (expression.first, *(operand for _, operand in expression.rest)):
            yield from _factors(part)
    else:
        yield expression


def _show(count: int, factors: Sequence[Expression], name: Callable[[str], str]) -> str:
    shown = [_show_factor(factor, name) for factor in factors]
    return f" {TIMES} ".join([number(count), *shown] if count != 1 or not shown else shown)


def _show_factor(factor: Expression, name: Callable[[str], str]) -> str:
    text = show(factor, name)
    return text if isinstance(factor, Name | Number | Square | Floor) else f"({text})"
