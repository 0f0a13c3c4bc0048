"""Files that are read whole: no device, no pipe that nobody writes to, and none that is too long."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from llmkit.data.json_text import DEEPEST, is_too_deep, parse_json
from llmkit.data.numerals import whole_number
from llmkit.data.small_files import read_small
from llmkit.errors import DataError


def test_up_to_the_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_small(tmp_path / "a", "a", 5) == b"12345"
    with pytest.raises(DataError, match="a is too large: more than 4 bytes"):
        read_small(tmp_path / "a", "a", 4)


def test_what_does_not_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(DataError, match="is not a regular file"):
            read_small(path, str(path), 10)
    with pytest.raises(IsADirectoryError):
        read_small(tmp_path, "a", 10)
    with pytest.raises(FileNotFoundError):
        read_small(tmp_path / "none", "a", 10)


def test_a_pipe_of_the_shells(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"text")
    os.close(writing)
    assert read_small(Path(f"/dev/fd/{reading}"), "a", 10) == b"text"
    os.close(reading)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "thousands of digits"),
        ("{", "Expecting property name"),
        (b"\xff", "utf-8|UTF-8"),
    ],
)
def test_json_that_cannot_be_read_is_a_value_error(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_json(text)


@pytest.mark.parametrize("kind", [str, str.encode])
@pytest.mark.parametrize("pair", ["[]", "{}"])
def test_what_is_nested_too_deeply(kind: type, pair: str) -> None:
    opened, closed = ("[", "]") if pair == "[]" else ('{"a":', "}")
    for depth, is_deep in ((DEEPEST, False), (DEEPEST + 1, False), (DEEPEST + 3, True)):
        text = kind(opened * depth + "1" + closed * depth)
        assert is_too_deep(json.loads(text), text) == is_deep
    wide = json.dumps([[{}] * 300] * 300)
    assert not is_too_deep(json.loads(wide), wide)


@pytest.mark.parametrize(
    ("text", "number"), [("12", 12), ("0", 0), ("", None), ("-1", None), ("\u00b2", None), ("9" * 16, None)]
)
def test_whole_numbers(text: str, number: int | None) -> None:
    assert whole_number(text) == number
