"""The language of formulas: names of a config, numbers, ``+ − × /``, brackets, ``⌊ ⌋`` and ``²``, read, worked out.

A formula is text, such as ``(image_size / patch_size)² + 1`` or ``3 × text_config.hidden_size``. It is read into
an expression, never run as Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import TypeAlias

PLUS, MINUS, TIMES, OVER, SQUARED = "+", "−", "×", "/", "²"


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it is."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Name:
    """A value of the config: ``hidden_size``, ``vision_config.hidden_size``, ``depths[0]``."""

    text: str


@dataclass(frozen=True, slots=True)
class Chain:
    """Operands joined from left to right by operators of one rank: ``+ −``, or ``× /``."""

    first: Expression
    rest: tuple[tuple[str, Expression], ...]

    @property
    def is_sum(self) -> bool:
        """Whether the operators are ``+`` and ``−``."""
        return self.rest[0][0] in (PLUS, MINUS)


@dataclass(frozen=True, slots=True)
class Square:
    """An operand times itself."""

    of: Expression


@dataclass(frozen=True, slots=True)
class Floor:
    """What is within, rounded down."""

    of: Expression


Expression: TypeAlias = Number | Name | Chain | Square | Floor

_NAME = r"[A-Za-z_]\w*(?:\[\d+\])*(?:\.\w+(?:\[\d+\])*)*"
# In ASCII: elsewhere a ² is a part of a word.
_TOKEN = re.compile(rf"\s*(?:(?:\d[\d,]*(?:\.\d+)?)|{_NAME}|[-+−×*/²()⌊⌋])", re.ASCII)
_CLOSING = {"(": ")", "⌊": "⌋"}
_ALSO = {"-": MINUS, "*": TIMES}


def parse(formula: str) -> Expression:
    """Read a formula.

    Raises:
        ValueError: it is not one.
    """
    reader = _Reader(formula)
    expression = reader.sum()
    if reader.token is not None:
        raise ValueError(f"'{formula}' is not a formula: '{reader.token}' is too much.")
    return expression


class _Reader:
    """Reads by recursive descent, a function a rank of operators."""

    def __init__(self, formula: str) -> None:
        self.formula = formula
        self.tokens = self._split()
        self.token: str | None = None
        self.advance()

    def _split(self) -> list[str]:
        tokens, position, text = [], 0, self.formula.rstrip()
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None:
                raise ValueError(f"'{self.formula}' is not a formula, from '{text[position:]}' on.")
            tokens.append(found[0].strip())
            position = found.end()
        return tokens[::-1]

    def advance(self) -> None:
        self.token = self.tokens.pop() if self.tokens else None
        self.token = _ALSO.get(self.token or "", self.token)

    def sum(self) -> Expression:
        return self._chain(self.product, (PLUS, MINUS))

    def product(self) -> Expression:
        return self._chain(self.power, (TIMES, OVER))

    def _chain(self, operand: Callable[[], Expression], operators: tuple[str, str]) -> Expression:
        first, rest = operand(), []
        while self.token in operators:
            operator = self.token or ""
            self.advance()
            rest.append((operator, operand()))
        return Chain(first, tuple(rest)) if rest else first

    def power(self) -> Expression:
        atom = self.atom()
        while self.token == SQUARED:
            self.advance()
            atom = Square(atom)
        return atom

    def atom(self) -> Expression:
        token = self.token
        if token is None:
            raise ValueError(f"'{self.formula}' is not a formula: it ends too early.")
        self.advance()
        if token in _CLOSING:
            inner = self.sum()
            if self.token != _CLOSING[token]:
                raise ValueError(f"'{self.formula}' is not a formula: a bracket is not closed.")
            self.advance()
            return inner if token == "(" else Floor(inner)
        if token[0].isdecimal():
            return Number(Fraction(token.replace(",", "")))
        if token[0].isalpha() or token[0] == "_":
            return Name(token)
        raise ValueError(f"'{self.formula}' is not a formula: '{token}' stands where a value should.")


def work_out(expression: Expression, value_of: Callable[[str], int | float]) -> Fraction:
    """Return the value of an expression; whole numbers divide as in the models' code, rounded down.

    Raises:
        KeyError: `value_of` does not know a name.
        ZeroDivisionError: as it says.
    """
    match expression:
        case Number(value):
            return value
        case Name(text):
            return Fraction(value_of(text))
        case Square(inner):
            return work_out(inner, value_of) ** 2
        case Floor(inner):
            return Fraction(floor(work_out(inner, value_of)))
        case Chain(first, rest):
            value = work_out(first, value_of)
            for operator, operand in rest:
                value = _APPLY[operator](value, work_out(operand, value_of))
            return value


def _divide(over: Fraction, under: Fraction) -> Fraction:
    if over.denominator == under.denominator == 1:
        return Fraction(over // under)
    return over / under


_APPLY: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    PLUS: lambda left, right: left + right,
    MINUS: lambda left, right: left - right,
    TIMES: lambda left, right: left * right,
    OVER: _divide,
}


def show(expression: Expression, name: Callable[[str], str] = str) -> str:
    """Write an expression as text, `name` applied to the names; `parse` reads the same from it."""
    match expression:
        case Number(value):
            return number(value)
        case Name(text):
            return name(text)
        case Square(inner):
            return f"{_operand(inner, isinstance(inner, Chain | Square), name)}{SQUARED}"
        case Floor(inner):
            return f"⌊{show(inner, name)}⌋"
        case Chain(first, rest):
            parts = [_operand(first, _needs_brackets(first, expression, ""), name)]
            for operator, operand in rest:
                parts.append(
                    f"{operator} {_operand(operand, _needs_brackets(operand, expression, operator), name)}"
                )
            return " ".join(parts)


def _operand(expression: Expression, bracketed: bool, name: Callable[[str], str]) -> str:
    text = show(expression, name)
    return f"({text})" if bracketed else text


def _needs_brackets(operand: Expression, outer: Chain, operator: str) -> bool:
    if not isinstance(operand, Chain):
        return False
    if not outer.is_sum:
        # A product within a product is the same without brackets only in front, where it is done first anyway.
        return operand.is_sum or operator != ""
    return operand.is_sum and operator != ""


def number(value: Fraction | int | float) -> str:
    """Return a number with commas at the thousands: ``30,522``, ``2.5``."""
    exact = Fraction(value)
    return f"{exact.numerator:,}" if exact.denominator == 1 else f"{float(exact):,}"
