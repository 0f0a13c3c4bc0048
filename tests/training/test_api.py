"""Fine-tuning and judging from Python, in one process, in one precision after the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import llmkit
from llmkit.errors import UsageError
from tests.fixtures.command import Command
from tests.training.stepping import write_rows

Tiny = Callable[[str], Path]
ROWS = [
    {"review": f"the film was {('funny', 'cold')[n % 2]}", "stars": ("good", "bad")[n % 2]} for n in range(12)
]


@pytest.fixture
def values(tiny: Tiny, tmp_path: Path) -> dict[str, Any]:
    """What would stand in a config."""
    return {
        "task": "text-classification",
        "model": str(tiny("text-classification")),
        "data": {
            "train": write_rows(tmp_path / "train.jsonl", ROWS),
            "validation": 0.25,
            "columns": {"text": "review", "label": "stars"},
        },
        "training": {"max_steps": 2, "precision": "float32"},
        "output": str(tmp_path / "out"),
    }


def test_from_a_config_to_figures(values: dict[str, Any], tmp_path: Path) -> None:
    figures = llmkit.finetune(values, {"training.max_steps": 3}, device="cpu")

    assert figures["output"] == str(tmp_path / "out")
    assert figures["steps"] == 3
    assert values["training"]["max_steps"] == 2
    train = values["data"]["train"]
    found = llmkit.evaluate(tmp_path / "out", train, metrics=["accuracy"], worst=4, device="cpu")
    assert set(found.metrics) == {"loss", "accuracy"}
    assert set(figures) > {"eval_loss", "eval_accuracy", "eval_f1"}
    assert (found.examples, len(found.worst)) == (12, 4)


def test_the_file_of_a_run_in_another_precision(values: dict[str, Any], tmp_path: Path) -> None:
    llmkit.finetune(values, device="cpu")
    changes = {"training.precision": "bfloat16", "output": str(tmp_path / "again")}

    figures = llmkit.finetune(tmp_path / "out" / "config.yaml", changes, device="cpu")

    assert figures["steps"] == 2
    assert "| precision | bfloat16 |" in (tmp_path / "again" / "README.md").read_text()
    found = llmkit.evaluate(tmp_path / "again", values["data"]["train"], device="cpu")
    assert found.examples == len(ROWS)


def test_evaluate_takes_what_the_command_takes(
    values: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    command: Command = request.getfixturevalue("llmkit")
    run, train = tmp_path / "out", values["data"]["train"]
    llmkit.finetune(values, device="cpu")
    options = {"confidence": 0.9, "resamples": 50, "max_rows": 6, "max_length": 8, "batch_size": 2, "seed": 7}

    found = llmkit.evaluate(
        run,
        train,
        metrics=["accuracy"],
        labels=["bad", "good"],
        worst=6,
        device="cpu",
        dtype="bfloat16",
        **options,
    )

    typed = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    done = command(
        "evaluate", run, "--data", train, "--metric=accuracy", "--labels=bad,good", "--worst=6", "--device=cpu",
        "--dtype=bfloat16", "--format=json", "--quiet", *typed,
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert done.json == json.loads(json.dumps(found.as_object()))
    assert found.examples == 6
    assert {each.predicted for each in found.worst} <= {"bad", "good"}


def test_what_is_wrong_is_raised(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"the config: training\.epoch: .*did you mean epochs"):
        llmkit.finetune(values, {"training.epoch": 3})
    with pytest.raises(UsageError, match="no such training task: 'text-clasification'"):
        llmkit.evaluate("minilm", "a.csv", task="text-clasification")
