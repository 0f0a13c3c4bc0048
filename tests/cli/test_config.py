"""``llmkit config``: a schema editors can use, a file to start from that runs, a file as it is understood."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from llmkit.training.objectives import OBJECTIVES
from tests.fixtures.command import Command

RUN = "task: text-classification\nmodel: minilm\ndata: {train: a.csv}\noutput: runs/a\n"


def test_the_schema_describes_every_section(llmkit: Command) -> None:
    schema = llmkit("config", "schema").json

    assert schema["required"] == ["task", "model", "data", "output"]
    assert schema["additionalProperties"] is False
    rate = schema["$defs"]["TrainingSection"]["properties"]["learning_rate"]
    assert (rate["default"], rate["exclusiveMinimum"]) == (5e-5, 0)
    assert "stratified" in schema["$defs"]["DataSection"]["properties"]["validation"]["description"]


@pytest.mark.parametrize("task", OBJECTIVES)
def test_the_file_to_start_from_is_a_config(llmkit: Command, tmp_path: Path, task: str) -> None:
    done = llmkit("config", "init", task, "--output", "run.yaml", cwd=tmp_path)

    assert done.code == 0, done.stderr
    assert done.stdout == b""
    shown = yaml.safe_load(llmkit("config", "show", "run.yaml", cwd=tmp_path).text)
    assert shown["task"] == task
    # Every key that is a comment is one of the schema: taken at its word, the file says the defaults.
    text = (tmp_path / "run.yaml").read_text()
    spelled = text.replace("\n  # ", "\n  ")
    spelled = "\n".join(line for line in spelled.splitlines() if ":" in line or not line.startswith("  "))
    (tmp_path / "spelled.yaml").write_text("\n".join(_settings(spelled)))
    assert yaml.safe_load(llmkit("config", "show", "spelled.yaml", cwd=tmp_path).text) == shown


def _settings(text: str) -> list[str]:
    """Drop what is prose rather than a key."""
    return [
        line
        for line in text.splitlines()
        if not line.startswith("  ") or line.split(":")[0].strip().isidentifier()
    ]


def test_a_file_that_is_there_is_not_written_over(llmkit: Command, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("mine")

    done = llmkit("config", "init", "text-classification", "-o", "run.yaml", cwd=tmp_path)

    assert done.code == 2
    assert "run.yaml is there already" in done.stderr
    assert (tmp_path / "run.yaml").read_text() == "mine"
    assert (
        llmkit("config", "init", "text-classification", "-o", "run.yaml", "--overwrite", cwd=tmp_path).code
        == 0
    )


def test_a_folder_that_is_not_there_is_made(llmkit: Command, tmp_path: Path) -> None:
    assert llmkit("config", "init", "text-classification", "-o", "new/run.yaml", cwd=tmp_path).code == 0
    assert (tmp_path / "new" / "run.yaml").is_file()


def test_an_unknown_task_is_named_with_the_nearest(llmkit: Command) -> None:
    done = llmkit("config", "init", "text-clasification")

    assert done.code == 2
    assert "did you mean text-classification?" in done.stderr


def test_a_config_is_shown_with_its_defaults_and_changes(llmkit: Command, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(RUN)

    shown = yaml.safe_load(
        llmkit("config", "show", "run.yaml", "--set", "training.learning_rate=1e-3", cwd=tmp_path).text
    )

    assert shown["training"]["learning_rate"] == 1e-3
    assert shown["training"]["schedule"] == "linear"
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(shown))
    assert yaml.safe_load(llmkit("config", "show", "again.yaml", cwd=tmp_path).text) == shown


def test_a_wrong_config_ends_with_2_and_places(llmkit: Command, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(RUN + "training: {learning_rte: 1}\n")

    done = llmkit("config", "show", "run.yaml", cwd=tmp_path)

    assert (done.code, done.stdout) == (2, b"")
    assert done.stderr.startswith(
        "error: run.yaml:5:12: training.learning_rte: unknown key; did you mean learning_rate?"
    )


def test_alone_it_shows_its_help(llmkit: Command) -> None:
    done = llmkit("config")

    assert done.code == 0
    assert all(name in done.text for name in ("schema", "init", "show"))
