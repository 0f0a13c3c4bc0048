"""Every task from its config to an answer: what a run says to try, tried."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmkit.training.objectives import OBJECTIVES
from tests.fixtures.command import Command
from tests.training.rows import TRIALS

# What an answer of each task has in it.
ANSWERS: dict[str, Callable[[Any], bool]] = {
    "text-classification": lambda answer: answer["label"] in ("a", "b", "c"),
    "token-classification": lambda answer: all(each["entity"] in ("O", "B-x") for each in answer),
    "question-answering": lambda answer: isinstance(answer["answer"], str),
    "masked-lm": lambda answer: {"token_str", "sequence"} <= set(answer[0]),
    "next-sentence": lambda answer: {"token_str", "sequence"} <= set(answer[0]),
    "causal-lm": lambda answer: answer[0]["generated_text"].startswith("a beginning"),
    "seq2seq": lambda answer: isinstance(answer["generated_text"], str),
    "sentence-embedding": lambda answer: len(answer) == 2,
    "preference": lambda answer: answer[0]["generated_text"].startswith("a beginning"),
    "multiple-choice": lambda answer: 0 <= answer["metrics"]["accuracy"] <= 1,
}


@pytest.mark.parametrize("task", OBJECTIVES)
def test_what_the_run_says_to_try(
    llmkit: Command, tiny: Callable[[str], Path], tmp_path: Path, task: str
) -> None:
    sections = TRIALS[task].sections(tiny, tmp_path)
    training = {"max_steps": 2, "precision": "float32"}
    config = {"task": task, **sections, "training": training, "output": "my run"}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    where = {"cwd": tmp_path, "env": {"LLMKIT_CACHE": str(tmp_path / "cache")}}

    done = llmkit("finetune", "run.yaml", **where)

    assert done.code == 0, done.stderr
    said = done.stderr.partition("try it: ")[2].splitlines()[0]
    command, *arguments = shlex.split(said)
    assert command == "llmkit"
    train = sections["data"]["train"]
    answer = llmkit(*(train if each == "FILE" else each for each in arguments), "--format", "json", **where)
    assert answer.code == 0, answer.stderr
    assert ANSWERS[task](answer.json), answer.json
    assert said in (tmp_path / "my run" / "README.md").read_text()
