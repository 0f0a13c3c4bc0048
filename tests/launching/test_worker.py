"""What a process tells its launcher by its exit code, and which GPU it sees."""

from __future__ import annotations

import os

import pytest

from llmkit.errors import LostProcessError, ModelError, UsageError
from llmkit.launching.worker import EXIT_LOST, code_for_launcher, take_own_gpu


@pytest.mark.parametrize(
    ("code", "cause", "told"),
    [
        (0, None, 0),
        (1, ModelError("an infinite loss"), 1),
        (1, LostProcessError("no answer"), EXIT_LOST),
        (1, RuntimeError("CUDA error: uncorrectable ECC error"), EXIT_LOST),
        (2, UsageError("a wrong key"), 2),
        (130, KeyboardInterrupt(), 130),
    ],
)
def test_what_is_worth_beginning_again(code: int, cause: BaseException | None, told: int) -> None:
    assert code_for_launcher(code, cause) == told


@pytest.mark.parametrize(("visible", "own"), [("3,5,7", "5"), ("", "1"), ("3", "1")])
def test_its_own_gpu(visible: str, own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setenv("LOCAL_RANK", "1")
    take_own_gpu()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == own


def test_the_only_process_sees_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    take_own_gpu()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,5"
