"""What llmkit says reads alike: every message of an error, a warning or a note begins as the others do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmkit

PACKAGE = Path(llmkit.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
A_NAME = re.compile(r"[A-Z][A-Z_]|[A-Z]$")


def first_words(node: ast.expr) -> Iterator[str]:
    """The words that a text begins with, in whatever way it is put together."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr) and node.values:
        yield from first_words(node.values[0])
    elif isinstance(node, ast.BinOp):
        yield from first_words(node.left)
    elif isinstance(node, ast.IfExp):
        yield from first_words(node.body)
        yield from first_words(node.orelse)


def capitals(tree: ast.Module) -> list[tuple[int, str]]:
    """The messages that begin with a capital, with their lines."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func).rpartition(".")[2]
            if called.endswith("Error") or called in ("note", "warn"):
                found += [(node.lineno, words) for words in first_words(node.args[0])]
    return [(line, words) for line, words in found if words[:1].isupper() and not A_NAME.match(words)]


def test_a_message_begins_in_lower_case():
    """It stands after "error: ", or after another message; only a name begins with a capital."""
    found = {path: capitals(ast.parse(path.read_text(encoding="utf-8"))) for path in FILES}
    assert {str(path): each for path, each in found.items() if each} == {}


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("raise UsageError('The model is gone.')", 1),
        ("raise errors.DataError(f'There are {n} rows.', hint='Name it.')", 1),
        ("raise UsageError('Name it.' if name else 'Which one?')", 2),
        ("note('Going on' + ('.' if done else ' soon.'))", 1),
        ("raise UsageError('the model is gone.')", 0),
        ("raise UsageError('GPU 1 is not there.')", 0),
        ("raise ConstructorError(None, 'The mark')", 0),
        ("print('The model')", 0),
    ],
)
def test_that_rule_itself(code, count):
    assert len(capitals(ast.parse(code))) == count
