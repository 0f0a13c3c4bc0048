"""Entities in a sequence of tags, read leniently, as conlleval.pl and seqeval's default mode do.

A tag is a letter and a type: B-PER, I-PER, E-PER, S-PER, O. Any mixture is read: an I without a B begins an
entity, which is how IOB1 is read, too.
"""

from __future__ import annotations

from collections.abc import Sequence

Entity = tuple[str, int, int]


def lenient_entities(tags: Sequence[str], *, suffix: bool = False) -> set[Entity]:
    """Return the entities as (type, first, last), as `seqeval.metrics.sequence_labeling.get_entities`.

    Args:
        tags: one tag a token, none empty.
        suffix: the letter stands after the type (PER-B).
    """
    found = set()
    begin, letter_before, type_before = 0, "O", "_"
    for place, tag in enumerate([*tags, "O"]):
        letter, kind = _split(tag, suffix)
        if _ends(letter_before, letter, type_before, kind):
            found.add((type_before, begin, place - 1))
        if _begins(letter_before, letter, type_before, kind):
            begin = place
        letter_before, type_before = letter, kind
    return found


def _split(tag: str, suffix: bool) -> tuple[str, str]:
    if suffix:
        return tag[-1], tag[:-1].rsplit("-", maxsplit=1)[0] or "_"
    return tag[0], tag[1:].split("-", maxsplit=1)[-1] or "_"


def _ends(before: str, letter: str, type_before: str, kind: str) -> bool:
    """Whether an entity ends between two tokens."""
    return (
        before in "ES" or (before in "BI" and letter in "BSO") or (before not in "O." and type_before != kind)
    )


def _begins(before: str, letter: str, type_before: str, kind: str) -> bool:
    """Whether an entity begins with the second of two tokens."""
    return (
        letter in "BS" or (before in "ESO" and letter in "EI") or (letter not in "O." and type_before != kind)
    )
