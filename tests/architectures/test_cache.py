"""Counts and answers that are kept."""

from __future__ import annotations

import json
import os

import pytest

from llmkit.architectures import cache
from llmkit.architectures.cache import keep, key_of, read_count, read_kept, versions


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "params"


def test_what_was_kept_is_read():
    key = key_of(values={"a": 1})
    assert read_kept(key) is None
    keep(key, {"total": 5})
    assert read_kept(key) == {"total": 5}


def test_the_key_follows_what_was_asked_and_the_versions(monkeypatch):
    first = key_of(values={"a": 1, "b": 2})
    assert key_of(values={"b": 2, "a": 1}) == first
    assert key_of(values={"a": 1, "b": 3}) != first
    for name in ("schema", "llmkit", "transformers", "torch"):
        other = {**versions(), name: "other"}
        monkeypatch.setattr(cache, "versions", lambda other=other: other)
        assert key_of(values={"a": 1, "b": 2}) != first
        monkeypatch.undo()


def test_the_versions_are_those_that_are_installed():
    import torch
    import transformers

    assert versions()["torch"] == torch.__version__
    assert versions()["transformers"] == transformers.__version__


def test_what_json_does_not_have_is_not_kept(folder):
    assert key_of(values={"a": object()}) is None
    keep(None, 5)
    assert read_kept(None) is None
    assert not folder.exists()


def damage_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_digit(path):
    path.write_text(path.read_text().replace("12345", "12346"))


def damage_shape(path):
    path.write_text("[1, 2]")


def damage_key(path):
    path.write_text(json.dumps({**json.loads(path.read_text()), "key": "another"}))


@pytest.mark.parametrize("damage", [damage_half, damage_digit, damage_shape, damage_key])
def test_a_damaged_file_is_no_answer(damage, folder):
    key = key_of(values={})
    keep(key, {"total": 12345})
    damage(folder / f"{key}.json")
    assert read_kept(key) is None


def test_a_count_of_another_shape_is_none():
    key = key_of(values={})
    keep(key, {"total": 5})
    assert read_count(key) is None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "file"))
    key = key_of(values={})
    keep(key, 5)
    assert read_kept(key) is None


def test_the_oldest_go(folder, monkeypatch):
    monkeypatch.setattr(cache, "MOST_BYTES", 3000)
    keys = [key_of(number=number) for number in range(4)]
    for age, key in enumerate(keys[:3]):
        keep(key, "x" * 850)
        os.utime(folder / f"{key}.json", (1000 + age, 1000 + age))
    assert read_kept(keys[0]) is not None  # in use: now the second is the oldest
    keep(keys[3], "x" * 850)
    assert [read_kept(key) is not None for key in keys] == [True, False, True, True]
