"""Reads the catalogue's files, and finds an architecture in them by any name that people call it.

A file is ``{"papers": {key: {title, year, url}}, "entries": [...]}``. An entry has a `name`, a `paper` (a key) and
either `undisclosed` or a `config` and a `count`; and where there are such, `aliases`, `hub_id`, `published`, `head`
and `note`. What other packages add is such an entry each, with its `family`, and its paper in the place of a key.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from llmkit.plugins import Table

_UNITS = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_FIGURE = re.compile(r"(?P<digits>[\d,]+)(?:\.(?P<decimals>\d+))?(?P<unit>[KMBT])?")


@dataclass(frozen=True, slots=True)
class Entry:
    """An architecture with a name.

    Attributes:
        family: the file it is in: ``bert``, ``llama``.
        hub_id: its repository on the hub; "" where the weights are not there.
        config: what matters for counting of its config.json; empty where the design was never published.
        head: the head that the published figure is counted with, a name of `heads.HEADS`; None for the
            one that its type has by default.
        paper: first author and title of the paper, or of the page, that it comes from, of `year`, at `url`.
        count: its parameters, with that head, as transformers builds it.
        published: the figure it was published with; None where there is none. `published_text` is how it was
            written, and `tolerance` how far off rounding may have put it, as a share of it.
        note: where the figure is from if not from the paper, and why the count differs from it.
        undisclosed: what is known of it, if its design was never published; else "".
    """

    name: str
    family: str
    aliases: tuple[str, ...] = ()
    hub_id: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    head: str | None = None
    paper: str = ""
    year: int = 0
    url: str = ""
    count: int = 0
    published: int | None = None
    published_text: str = ""
    tolerance: float = 0.0
    note: str = ""
    undisclosed: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """All that it goes by: its name, its aliases, and its hub id with and without the owner."""
        return _names(self.name, self.aliases, self.hub_id)


def entries() -> Mapping[str, Entry]:
    """Return all of the catalogue by name, family by family."""
    return MappingProxyType(_entries())


def find(name: str) -> Entry | None:
    """Return what goes by `name`, whether it is upper or lower case, with ``_`` or ``-``; None if nothing does."""
    folded = _folded(name)
    known = _index().get(folded) or _index_of(_added()).get(folded)
    return None if known is None else _entry(known)


def nearest(name: str, most: int = 3, cutoff: float = 0.6) -> list[str]:
    """Return the names of the catalogue that `name` may be a mistyped one of, the nearest first."""
    index, wanted = _index(), _folded(name)
    near = difflib.get_close_matches(wanted.rpartition("/")[2], index, n=4 * most, cutoff=cutoff)
    # What was typed, not the entry's own name: bert-bsae is near to bert-base, not to bert-base-uncased.
    by_entry: dict[str, str] = {}
    for each in near:
        by_entry.setdefault(index[each], each)
    return list(by_entry.values())[:most]


def matching(words: str) -> list[Entry]:
    """Return the entries that have each of `words` in a name, the family, the model type, the paper or the year."""
    wanted = [_folded(word) for word in words.split()]
    return [entry for entry in _entries().values() if all(word in _searched(entry) for word in wanted)]


def figure(text: str) -> tuple[int, float]:
    """Return the number that a published figure stands for, and the share of it that rounding may have taken.

    ``110M`` is 110,000,000, give or take 5,000,000: zeros at the end of a figure without decimals are not
    counted on. ``13.0B`` is good to 50,000,000, and ``20,554,567,680`` is exact.

    Raises:
        ValueError: it is no such figure.
    """
    found = _FIGURE.fullmatch(text)
    if found is None:
        raise ValueError(f"not a figure such as 110M: {text!r}")
    digits, decimals = found["digits"].replace(",", ""), found["decimals"] or ""
    if found["unit"] is None and not decimals:
        return int(digits), 0.0
    unit = _UNITS.get(found["unit"] or "", 1)
    value = int(digits + decimals) * unit // 10 ** len(decimals)
    zeros = 0 if decimals else len(digits) - len(digits.rstrip("0"))
    return value, unit * 10.0 ** (zeros - len(decimals)) / 2 / value


class _Row(NamedTuple):
    """An entry as it is in its file, with its paper. To find one is not to make them all."""

    family: str
    values: dict[str, Any]
    paper: dict[str, Any]


@functools.cache
def _rows() -> dict[str, _Row]:
    return {
        row.values["name"]: row
        for file in sorted(Path(__file__).parent.glob("*.json"))
        for row in _read(file)
    }


_ADDED: Table[dict[str, Any]] = Table("llmkit.architectures", {}, dict)


@functools.cache
def _added() -> dict[str, _Row]:
    """Return the entries of other packages."""
    return {
        name: _Row(values.get("family", name), {"name": name, **values}, values["paper"])
        for name, values in _ADDED.items()
    }


def _read(file: Path) -> Iterator[_Row]:
    content = json.loads(file.read_bytes())
    return (_Row(file.stem, each, content["papers"][each["paper"]]) for each in content["entries"])


@functools.cache
def _index() -> dict[str, str]:
    return _index_of(_rows())


def _index_of(rows: Mapping[str, _Row]) -> dict[str, str]:
    return {
        name: values["name"]
        for _, values, _ in rows.values()
        for name in _names(values["name"], values.get("aliases", ()), values.get("hub_id", ""))
    }


@functools.cache
def _entries() -> dict[str, Entry]:
    return {name: _entry(name) for name in (*_rows(), *_added())}


@functools.cache
def _entry(name: str) -> Entry:
    family, values, paper = _rows()[name] if name in _rows() else _added()[name]
    text = values.get("published", "")
    published, tolerance = figure(text) if text else (None, 0.0)
    changed = {
        "family": family,
        "aliases": tuple(values.get("aliases", ())),
        "paper": paper["title"],
        "year": paper["year"],
        "url": paper["url"],
        "published": published,
        "published_text": text,
        "tolerance": tolerance,
    }
    return Entry(**(values | changed))


def _names(name: str, aliases: Iterable[str], hub_id: str) -> tuple[str, ...]:
    hub_names = (hub_id, hub_id.rpartition("/")[2]) if hub_id else ()
    return tuple(dict.fromkeys(_folded(each) for each in (name, *aliases, *hub_names)))


def _folded(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def _searched(entry: Entry) -> str:
    model_type = str(entry.config.get("model_type", ""))
    return "\n".join(map(_folded, (*entry.names, entry.family, model_type, entry.paper, str(entry.year))))
