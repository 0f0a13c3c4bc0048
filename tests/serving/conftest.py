"""What the tests of the servers can ask for: tiny models by task, and warm workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.serving.warming import Warm


@pytest.fixture(scope="module")
def models(tiny: Callable[[str], Path]) -> dict[str, str]:
    """The folders of the models that a server has, by their tasks."""
    tasks = (
        "text-classification", "token-classification", "fill-mask", "zero-shot-classification", "question-answering",
        "feature-extraction", "text-generation", "summarization",
    )  # fmt: skip
    return {task: str(tiny(task)) for task in tasks}


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """One worker for all tests that leave it alive."""
    started = Warm(tmp_path_factory.mktemp("run"))
    yield started
    started.stop()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Warm]:
    """A folder without workers, for a test that kills them."""
    (tmp_path / "run").mkdir()
    started = Warm(tmp_path / "run")
    yield started
    started.stop()


@pytest.fixture(scope="module")
def model(tiny: Callable[[str], Path]) -> Path:
    """The model that workers keep."""
    return tiny("text-classification")
