"""``loss.png`` is drawn of any run: long or of one step, judged or not."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from llmkit.errors import MissingExtraError, OutputError
from llmkit.training.plot import _running_means, draw_loss

LOSSES = [(step, 2.0 / step) for step in range(1, 101)]
EVALUATIONS = [{"step": 50, "eval_loss": 0.5}, {"step": 100, "eval_loss": 0.4}]

needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="the extra plot is not installed"
)


@needs_matplotlib
@pytest.mark.parametrize("losses", [LOSSES, LOSSES[:1], []], ids=["long", "one step", "none"])
@pytest.mark.parametrize("evaluations", [EVALUATIONS, []], ids=["judged", "not judged"])
def test_it_is_a_picture(tmp_path: Path, losses: list, evaluations: list) -> None:
    draw_loss(losses, evaluations, tmp_path / "loss.png")

    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


@needs_matplotlib
def test_an_evaluation_changes_the_picture(tmp_path: Path) -> None:
    draw_loss(LOSSES, EVALUATIONS, tmp_path / "with.png")
    draw_loss(LOSSES, [], tmp_path / "without.png")

    assert (tmp_path / "with.png").read_bytes() != (tmp_path / "without.png").read_bytes()


@needs_matplotlib
def test_a_folder_that_is_not_there_is_an_error_of_the_output(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        draw_loss(LOSSES, [], tmp_path / "nowhere" / "loss.png")


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)

    with pytest.raises(MissingExtraError, match="plot"):
        draw_loss(LOSSES, [], tmp_path / "loss.png")


def test_the_running_mean_goes_over_a_twentieth_of_the_steps() -> None:
    assert _running_means([4.0, 2.0, 6.0]) == [4.0, 2.0, 6.0]
    assert _running_means([1.0] * 20 + [3.0] * 20)[19:23] == [1.0, 2.0, 3.0, 3.0]
