"""``llmkit config init``: what is said is needed or sensible, what is a comment is the default."""

from __future__ import annotations

import pytest
import yaml

from llmkit.errors import UsageError
from llmkit.training.config import DataSection, GenerationSection, TrainingSection
from llmkit.training.config_file import check_config
from llmkit.training.objectives import OBJECTIVES, objective_class
from llmkit.training.starting import starting_config


@pytest.mark.parametrize("task", OBJECTIVES)
def test_it_is_a_config_of_the_task_with_a_column_for_each_field(task: str) -> None:
    values = yaml.safe_load(starting_config(task).replace("5e-05", "5.0e-05"))

    config = check_config(values, "run.yaml")

    assert config.task == task
    assert config.output == f"runs/{task}"
    needed = {field.name for field in objective_class(task).fields if field.required}
    assert set(config.data.columns) == needed


def test_every_key_is_there_with_what_it_means() -> None:
    text = starting_config("text-classification")
    for section in (DataSection, TrainingSection):
        for name, field in section.model_fields.items():
            assert f" {name}: " in text, name
            if name != "columns":  # said in the words of the task's fields
                assert (field.description or "").split("\n")[0][:40] in text, name


@pytest.mark.parametrize("task", OBJECTIVES)
def test_sections_of_a_task_are_shown_with_it_alone(task: str) -> None:
    text = starting_config(task)
    assert ("# generation:" in text) == (task == "seq2seq")
    assert all(f"#   {name}: " in text for name in GenerationSection.model_fields) == (task == "seq2seq")


def test_lines_are_short_enough_to_read() -> None:
    assert max(map(len, starting_config("text-classification").splitlines())) <= 150


def test_an_unknown_task_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean text-classification"):
        starting_config("text-clasification")
