"""Trackers: one that is not installed is named; settings are flattened to what all of them take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from llmkit.errors import UsageError
from llmkit.training.run import finetune
from llmkit.training.tracking import check_trackers, flat, without_credentials
from tests.fixtures.command import Command
from tests.training.stepping import config_for, write_rows


def test_a_tracker_that_is_not_installed_is_named_with_the_remedy() -> None:
    check_trackers([])
    with pytest.raises(UsageError, match="trackers: no_such_tracker is not installed") as caught:
        check_trackers(["no_such_tracker"])
    assert caught.value.hint == "Install it: pip install no_such_tracker"


def test_settings_are_flattened() -> None:
    nested = {"a": {"b": 1, "c": {"d": [1, 2]}}, "e": None, "f": True}

    assert flat(nested) == {"a.b": 1, "a.c.d": [1, 2], "e": None, "f": True}


def test_credentials_are_not_handed_on() -> None:
    token = "hf_" + "a1B2" * 8
    settings = {"a": "https://me:secret@example.org/x", "b": token, "c": "https://example.org", "d": 1}

    assert without_credentials(settings) == {
        "a": "https://…@example.org/x",
        "b": "…",
        "c": "https://example.org",
        "d": 1,
    }


class TestARun:
    """Each tracker for real, without a network, where its package is installed."""

    @pytest.fixture
    def tracked_run(
        self, tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[[str], Path]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))

        def run(tracker: str) -> Path:
            pytest.importorskip(tracker)
            rows = [{"text": f"the film {n}", "label": ("good", "bad")[n % 2]} for n in range(8)]
            config = config_for(
                "text-classification",
                tiny("text-classification"),
                tmp_path,
                write_rows(tmp_path / "train.jsonl", rows),
                data={"validation": 0.25},
                training={"max_steps": 2, "logging_steps": 1, "eval_steps": 2, "max_grad_norm": 1.0},
                trackers=[tracker],
            )
            finetune(config, device="cpu")
            return tmp_path / "run"

        return run

    def losses(self, run: Path) -> list[float]:
        lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        return [line["loss"] for line in lines if "loss" in line]

    def test_tensorboard(self, tracked_run: Callable[[str], Path]) -> None:
        run = tracked_run("tensorboard")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(run / "llmkit")).Reload()

        scalars = events.Scalars("loss")
        assert [each.step for each in scalars] == [1, 2]
        assert [each.value for each in scalars] == pytest.approx(self.losses(run))
        assert "eval_accuracy" in events.Tags()["scalars"]
        assert "step" not in events.Tags()["scalars"]

    def test_mlflow(
        self, tracked_run: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
        run = tracked_run("mlflow")
        import mlflow

        found = mlflow.search_runs(experiment_names=["llmkit"], output_format="list")

        assert [each.info.run_name for each in found] == ["run"]
        assert found[0].info.status == "FINISHED"
        assert found[0].data.metrics["loss"] == pytest.approx(self.losses(run)[-1])
        assert found[0].data.params["training.max_steps"] == "2"

    def test_trackio(
        self, tracked_run: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
        tracked_run("trackio")

        assert list(tmp_path.rglob("trackio/**/llmkit.db"))

    def test_wandb(
        self, tracked_run: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WANDB_MODE", "offline")
        tracked_run("wandb")

        assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))

    def test_one_that_cannot_begin_is_one_message(
        self, llmkit: Command, tiny: Callable[[str], Path], tmp_path: Path
    ) -> None:
        pytest.importorskip("wandb")
        rows = [{"text": f"the film {n}", "label": ("good", "bad")[n % 2]} for n in range(8)]
        train = write_rows(tmp_path / "train.jsonl", rows)
        config = config_for(
            "text-classification", tiny("text-classification"), tmp_path, train, trackers=["wandb"]
        )
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
        # Of a process of its own: wandb keeps what it was told first.
        settings = {"WANDB_MODE": "online", "WANDB_API_KEY": "", "HOME": str(tmp_path)}

        done = llmkit("finetune", "run.yaml", cwd=tmp_path, env=settings)

        assert done.code == 2
        assert "error: trackers: wandb: cannot begin" in done.stderr
        assert "WANDB_MODE=offline" in done.stderr
        assert not (tmp_path / "run/log.jsonl").exists()
