"""Calls that must fail, and what their messages have in common."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_LINES = 4
CLASSIFY = "text-classification -m {text-classification}"


@dataclass(frozen=True)
class Case:
    """A call that must fail: its arguments, and what its message has to say.

    `{text-classification}` stands for a tiny model's folder, `{/}` for the folder of the files.
    """

    name: str
    arguments: str | list[str]
    says: tuple[str, ...]
    code: int = 2
    files: dict[str, bytes] = field(default_factory=dict)
    stdin: bytes = b""


def named(case):
    return case.name


def model_of(tiny, word):
    return str(tiny(word[1:-1])) if word.startswith("{") and word.endswith("}") else word


def check_message(done, code, *says):
    """One message, of a few lines, about what is wrong; nothing on standard output; no traceback."""
    assert done.code == code, done.stderr
    assert done.stdout == b""
    lines = done.stderr.splitlines()
    assert lines[0].startswith("error: ") and len(lines) <= MOST_LINES, done.stderr
    assert sum(line.startswith(("error", "warning", "Usage")) for line in lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "fault of llmkit" not in done.stderr
    for word in says:
        assert word in done.stderr, done.stderr
