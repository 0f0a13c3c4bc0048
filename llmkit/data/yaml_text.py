"""YAML as most people know it: the plain values of YAML 1.2 and JSON, and where each value stands in the text."""

from __future__ import annotations

import functools
import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from llmkit.errors import UsageError

_FLOAT = (
    r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)


_MERGE = "tag:yaml.org,2002:merge"
_MOST_VALUES = 100_000  # a few lines of aliases can stand for billions
_MOST_CHARACTERS = 1_000_000
_MOST_SHOWN = 60  # characters of a value that is too long to be read
_NO_CHARACTER = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a text: the line and the column, both from 1."""

    line: int
    column: int


Path = tuple[Hashable, ...]


@dataclass(frozen=True, slots=True)
class YamlText:
    """A YAML document, read.

    Attributes:
        value: what it says.
        keys: the place of each key, by the path of keys and list positions to it: ``("data", "columns", 0)``.
        values: the place of each value; ``()`` is the document.
        texts: the plain values as they were written.
    """

    value: Any
    keys: dict[Path, Place]
    values: dict[Path, Place]
    texts: dict[Path, str]


def read_yaml(text: str, where: str) -> YamlText:
    """Read a document of YAML.

    Raises:
        UsageError: it is not YAML, has a key twice, or is too large: of more than a million characters, of more than a
            hundred thousand values; the message begins with `where`, the line and the column.
    """
    import yaml

    if len(text) > _MOST_CHARACTERS:
        raise UsageError(f"{where}: {len(text):,} characters are too many; {_MOST_CHARACTERS:,} are read.")
    try:
        return _document(text, where)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        raise UsageError(f"{where}{place}: not YAML: {_problem(error)}.") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{where}: not YAML: {str(error).partition(chr(10))[0]}.") from None
    except RecursionError:
        raise UsageError(f"{where}: nested too deeply.") from None
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{where}: not YAML: {_unreadable(error)}.") from None


def _document(text: str, where: str) -> YamlText:
    """Read a document; its values are counted before any is made."""
    document = YamlText(None, {}, {}, {})
    loader = _loader()(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return document
        _count(node, {}, where)
        _find_places(node, (), document, where, loader)
        value = loader.construct_document(node)
    finally:
        loader.dispose()
    return YamlText(value, document.keys, document.values, document.texts)


def _problem(error: Any) -> str:
    """Return what is wrong; what was being read too where the problem shows far from where it began."""
    problem, context, begun, mark = error.problem, error.context, error.context_mark, error.problem_mark
    if problem is None or (context and problem.startswith("but ")):
        return f"{context} {problem or ''}".strip()
    if context and begun is not None and mark is not None and begun.line != mark.line:
        return f"{problem}, {context} from line {begun.line + 1} on"
    return str(problem)


def _count(node: Any, known: dict[int, int | None], where: str) -> int:
    """Return how many values a node comes to with its aliases written out; each node is gone through once.

    Raises:
        UsageError: more than anybody means.
        RecursionError: it holds itself.
    """
    import yaml

    if id(node) in known:
        count = known[id(node)]
        if count is None:
            raise RecursionError
        return count
    known[id(node)] = None
    children: list[Any] = []
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        children = [child for _, child in node.value]
    total = 1
    for child in children:
        total += _count(child, known, where)
    if total > _MOST_VALUES:
        place = _place(node)
        raise UsageError(
            f"{where}:{place.line}:{place.column}: more than {_MOST_VALUES:,} values.",
            hint="Aliases (*name) of aliases stand for that many: write out what is meant.",
        )
    known[id(node)] = total
    return total


def _find_places(node: Any, path: Path, found: YamlText, where: str, loader: Any) -> None:
    import yaml

    found.values[path] = place = _place(node)
    if isinstance(node, yaml.ScalarNode):
        found.texts[path] = node.value
        if _NO_CHARACTER.search(node.value):
            what = "a NUL byte" if "\0" in node.value else "half of a surrogate pair"
            raise UsageError(
                f"{where}:{place.line}:{place.column}: a text with {what} in it is of no use here."
            )
    elif isinstance(node, yaml.SequenceNode):
        for number, child in enumerate(node.value):
            _find_places(child, (*path, number), found, where, loader)
    elif isinstance(node, yaml.MappingNode):
        for key_node, child in node.value:
            if key_node.tag == _MERGE:
                _find_places(child, (*path, "<<"), found, where, loader)
                continue
            key = loader.construct_object(key_node)
            if not isinstance(key, Hashable):
                place = _place(key_node)
                raise UsageError(f"{where}:{place.line}:{place.column}: a key should be a word.")
            below = (*path, key)
            if below in found.keys:
                place, first = _place(key_node), found.keys[below]
                raise UsageError(
                    f"{where}:{place.line}:{place.column}: the key '{key}' is there twice, first in line {first.line}."
                )
            found.keys[below] = _place(key_node)
            _find_places(child, below, found, where, loader)


def _place(node: Any) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def parse_value(text: str, where: str) -> Any:
    """Return a value as YAML reads it; 1e-4 is a number too, which YAML 1.1 takes for text.

    Raises:
        UsageError: the value is not YAML.
    """
    import yaml

    try:
        value = _document(text, _shortened(where)).value
    except yaml.YAMLError as error:
        reason = _problem(error) if isinstance(error, yaml.MarkedYAMLError) else str(error).partition("\n")[0]
        raise UsageError(
            f"{_shortened(where)}: not a YAML value: {reason}.",
            hint="Put quotes around a text with special characters.",
        ) from None
    except RecursionError:
        raise UsageError(f"{_shortened(where)}: nested too deeply.") from None
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{_shortened(where)}: not a YAML value: {_unreadable(error)}.") from None
    # What is neither number nor list is the text it was written as.
    return value if value is None or isinstance(value, str | int | float | list | dict) else text


def _unreadable(error: Exception) -> str:
    """Return why a value is none: Python has no whole number of thousands of digits, no character beyond Unicode."""
    if "digits" in str(error):
        return "a number has thousands of digits"
    is_escape = isinstance(error, OverflowError) or "chr()" in str(error)
    return "an escape is of no character that there is" if is_escape else str(error)


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


@functools.cache
def _loader() -> Any:
    """Return YAML's safe loader with the plain values of YAML 1.2, which JSON and most people know.

    YAML 1.1 takes 1e-4 for a text, `no` (Norwegian) for false, 1:30 for 90 and 010 for 8.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_object(self, node: Any, deep: bool = False) -> Any:
            try:
                return super().construct_object(node, deep)
            except (LookupError, AttributeError, ValueError) as error:  # a value by tag: !!bool maybe
                kind = node.tag.rpartition(":")[2]
                problem = f"{_shortened(repr(node.value))} is no {kind}"
                problem = _unreadable(error) if "digits" in str(error) else problem
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None

    Loader.yaml_implicit_resolvers = {}
    plain = (
        ("null", r"~|null|Null|NULL|None|", ["~", "n", "N", ""]),
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
        ("float", _FLOAT, "-+.0123456789"),
        ("merge", r"<<", "<"),
    )
    for kind, pattern, first in plain:
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"(?:{pattern})$"), [*first])
    return Loader
