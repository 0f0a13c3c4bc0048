"""Where the cache lies: as the settings say, the own one first."""

from __future__ import annotations

import pytest

from llmkit.data.cache_folder import cache_folder


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"LLMKIT_CACHE": "/a"}, "/a"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/llmkit"),
        ({"HOME": "/home/me"}, "/home/me/.cache/llmkit"),
    ],
)
def test_where_it_lies(settings: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LLMKIT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert str(cache_folder()) == expected
