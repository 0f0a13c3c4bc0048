"""Entities in a sequence of tags, read strictly by a tagging scheme, as seqeval's strict mode does.

A scheme is three tables of rules about a token and the one before it: (letters before, letters, whether the
types must be the same). They are those of `seqeval.scheme` 1.2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from llmkit.errors import DataError
from llmkit.metrics.entities import Entity

ANY = "IOBESUL"

Rule = tuple[str, str, bool | None]
"""Letters before, letters now, and True for the same type, False for another, None for any."""


class Scheme(NamedTuple):
    """When an entity begins, goes on and ends."""

    letters: str
    begins: tuple[Rule, ...]
    goes_on: tuple[Rule, ...]
    ends: tuple[Rule, ...]


SCHEMES = {
    "IOB1": Scheme(
        "IOB",
        (("O", "I", None), ("I", "I", False), ("B", "I", None), ("IB", "B", True)),
        (("BI", "I", True),),
        (("I", "I", False), ("I", "OB", None), ("B", "O", None), ("B", "I", False), ("B", "B", True)),
    ),
    "IOB2": Scheme(
        "IOB",
        ((ANY, "B", None),),
        (("BI", "I", True),),
        (("I", "OB", None), ("IB", "I", False), ("B", "OB", None)),
    ),
    "IOE1": Scheme(
        "IOE",
        (("O", "I", None), ("I", "I", False), ("E", "I", None), ("E", "E", True)),
        (("I", "IE", True),),
        (("I", "IE", False), ("I", "O", None), ("E", "IE", True)),
    ),
    "IOE2": Scheme(
        "IOE",
        (("OE", "IE", None), ("I", "IE", False)),
        (("I", "IE", True),),
        (("E", ANY, None),),
    ),
    "IOBES": Scheme(
        "IOBES",
        ((ANY, "BS", None),),
        (("BI", "IE", True),),
        (("SE", ANY, None),),
    ),
    "BILOU": Scheme(
        "BILOU",
        ((ANY, "BU", None),),
        (("BI", "IL", True),),
        (("UL", ANY, None),),
    ),
}


class Token(NamedTuple):
    """A tag taken apart."""

    letter: str
    kind: str


_OUTSIDE = Token("O", "_")


def strict_entities(tags: Sequence[str], scheme: str, *, suffix: bool = False) -> set[Entity]:
    """Return the entities as (type, first, after last): only what the scheme's rules begin, go on with and end.

    Args:
        tags: one tag a token, none empty.
        scheme: a key of `SCHEMES`.
        suffix: the letter stands after the type (PER-B).

    Raises:
        DataError: a tag has a letter that the scheme does not have.
    """
    rules = SCHEMES[scheme]
    tokens = [*(_token(tag, scheme, suffix) for tag in tags), _OUTSIDE]
    found = set()
    place, before = 0, _OUTSIDE
    while place < len(tokens):
        token = tokens[place]
        if _matches(rules.begins, before, token):
            begin, place = place, place + 1
            while _matches(rules.goes_on, tokens[place - 1], tokens[place]):
                place += 1
            if _matches(rules.ends, tokens[place - 1], tokens[place]):
                found.add((token.kind, begin, place))
        else:
            place += 1
        before = tokens[place - 1]
    return found


def _token(tag: str, scheme: str, suffix: bool) -> Token:
    letter, kind = (tag[-1], tag[:-1]) if suffix else (tag[0], tag[1:])
    if letter not in SCHEMES[scheme].letters:
        allowed = ", ".join(SCHEMES[scheme].letters)
        raise DataError(
            f"the tag '{tag}' is not one of {scheme}.", hint=f"{scheme} has the letters {allowed}."
        )
    return Token(letter, kind.strip("-") or "_")


def _matches(rules: tuple[Rule, ...], before: Token, token: Token) -> bool:
    return any(
        before.letter in letters_before
        and token.letter in letters
        and (same is None or same == (before.kind == token.kind))
        for letters_before, letters, same in rules
    )
