"""The model card: what was trained, on what, how well, and a command to try it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmkit.tasks.catalogue import find_task
from llmkit.training.card import PIPELINE_TASKS, model_card
from llmkit.training.objectives import OBJECTIVES
from llmkit.training.optimizer import trained_numbers
from llmkit.training.state import Run
from tests.training.stepping import config_for, ready, write_rows

MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(tmp_path: Path, tiny: Callable[[str], Path]) -> MakeRun:
    """A run on eight rows, two of them for validation, with figures as if it had ended."""
    rows = [{"text": text, "label": text} for text in ("good", "bad")] * 4

    def make(**sections: Any) -> Run:
        train = write_rows(tmp_path / "rows.jsonl", rows)
        sections["data"] = {"validation": 0.25, **sections.get("data", {})}
        run = ready(
            config_for("text-classification", tiny("text-classification"), tmp_path, train, **sections)
        )
        run.figures = {"eval_loss": 0.25, "eval_accuracy": 0.9}
        run.progress.seconds, run.progress.tokens, run.progress.step = 20.0, 4000, 3
        return run

    return make


def card_of(run: Run) -> str:
    return model_card(run, trained_numbers(run.model))


def metadata_of(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n")[1])


def test_the_hub_reads_what_it_is(make_run: MakeRun) -> None:
    run = make_run()

    found = metadata_of(card_of(run))

    assert found["library_name"] == "transformers"
    assert found["pipeline_tag"] == "text-classification"
    assert found["base_model"] == run.config.model.name


def test_it_gives_data_settings_results_hardware_and_cost(make_run: MakeRun) -> None:
    card = card_of(make_run(training={"learning_rate": 3e-4, "seed": 11}))

    assert "| eval_accuracy | 0.9000 |" in card
    assert "| train | 6 |" in card
    assert "| validation | 2 |" in card
    assert "| learning rate | 0.0003, linear |" in card
    assert "| seed | 11 |" in card
    assert "| precision | float32 |" in card
    assert "20 seconds of training on 1 × CPU" in card
    assert "200 tokens a second" in card
    assert "estimated and not measured" in card


def test_the_command_to_try_it_names_the_folder(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    run.output = tmp_path / "my models" / "it's"

    command = next(line for line in card_of(run).splitlines() if line.startswith("llmkit "))

    assert shlex.split(command)[-2:] == ["--model", str(run.output)]


def test_frozen_parameters_are_not_counted_as_trained(make_run: MakeRun) -> None:
    everything, head = (card_of(make_run(training={"freeze": frozen})) for frozen in ([], ["encoder"]))

    assert trained(head) < trained(everything)


def trained(card: str) -> int:
    line = next(line for line in card.splitlines() if line.startswith("| parameters trained"))
    return int(line.split("|")[2].replace(",", ""))


def test_a_run_that_was_not_judged_has_no_table_of_results(make_run: MakeRun) -> None:
    run = make_run()
    run.figures = {}

    assert "## Results" not in card_of(run)


@pytest.mark.parametrize("task", PIPELINE_TASKS)
def test_the_pipeline_that_the_card_names_is_there(task: str) -> None:
    assert find_task(PIPELINE_TASKS[task][0]).name


def test_the_tasks_of_the_card_are_training_tasks() -> None:
    assert set(PIPELINE_TASKS) <= set(OBJECTIVES)
