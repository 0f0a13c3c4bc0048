"""What every test can ask for: the real command, and tiny real models."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.fixtures.command import Command

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Time is never asserted in a test.
settings.register_profile("llmkit", deadline=None)
settings.load_profile("llmkit")


@pytest.fixture(scope="session")
def llmkit() -> Iterator[Command]:
    """The command `llmkit`."""
    with Command() as command:
        yield command


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A tiny real model for a task, built once a session: `tiny("fill-mask")` gives its folder."""
    from tests.fixtures import tiny as builders

    root = tmp_path_factory.mktemp("tiny")
    built: dict[str, Path] = {}

    def build(name: str) -> Path:
        if name not in built:
            builder = getattr(builders, f"build_{name}", None)
            built[name] = builder(root / name) if builder else builders.build(name, root / name)
        return built[name]

    return build


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real public data; a test that asks for it is skipped where it is not."""
    folder = Path(os.environ.get("LLMKIT_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; LLMKIT_DATA names another folder")
    return folder
