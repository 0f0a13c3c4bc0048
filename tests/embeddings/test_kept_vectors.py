"""Vectors that are kept between runs."""

from __future__ import annotations

import os

import pytest

from llmkit.embeddings import kept_vectors
from llmkit.embeddings.kept_vectors import kept_path, mark_used


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path))


def test_the_name_follows_from_everything():
    names = {kept_path({"model": model, "input": [size]}) for model in "ab" for size in (1, 2)}
    assert len(names) == 4
    assert kept_path({"a": 1, "b": 2}) == kept_path({"b": 2, "a": 1})


def test_the_oldest_go(monkeypatch, tmp_path):
    monkeypatch.setattr(kept_vectors, "MOST_BYTES", 250)
    paths = [kept_path({"number": number}) for number in range(4)]
    paths[0].parent.mkdir(parents=True)
    for age, path in enumerate(paths):
        path.write_bytes(b"x" * 100)
        os.utime(path, (1000 + age, 1000 + age))
    rejects = paths[1].with_name(f"{paths[1].name}.rejects.jsonl")
    rejects.touch()
    os.utime(rejects, (1001, 1001))
    stopped = kept_path({"number": "of a search that was stopped"})
    for ending in ("partial", "progress", "rejects.jsonl"):
        left = stopped.with_name(f"{stopped.name}.{ending}")
        left.write_bytes(b"x" * 30)
        os.utime(left, (999, 999))
    mark_used(paths[0])  # the oldest, and in use now
    assert [path.exists() for path in paths] == [True, False, False, True]
    assert not list(tmp_path.rglob("*.npy.*"))
