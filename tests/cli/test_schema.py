"""`llmkit schema` says what commands print: every command is covered, and real outputs hold against it.

Outputs of all other tests do, too: `tests/fixtures/shapes.py` looks at what each call of the command prints.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from llmkit.cli.main import COMMANDS
from llmkit.cli.shapes import NO_JSON, SHAPES, schema_of
from llmkit.tasks.catalogue import tasks
from tests.cli.test_options import EVERY
from tests.fixtures.command import Command
from tests.fixtures.finished_run import finished_run
from tests.fixtures.shapes import assert_shaped, validator_of

TEXT = "He went to the bank."
WHOLE = "The bank raised rates."
# What it prints -> the call; the first is of the command's first shape, and so on.
CALLS: dict[str, tuple[str, ...]] = {
    "tasks": ("tasks", "ner"),
    "embed": ("embed", TEXT),
    "embed a word": ("embed", "--word", "bank", TEXT),
    "embed tokens": ("embed", "--level", "token", TEXT),
    "embed words": ("embed", "--level", "word", TEXT),
    "similarity": ("similarity", TEXT, WHOLE),
    "similarity of words": ("similarity", "--level", "word", "--measure", "dot", TEXT),
    "similarity whole": ("similarity", TEXT, WHOLE, "--format", "json"),
    "similarity of tokens": ("similarity", "--level", "token", TEXT, "--format", "json"),
    "search": ("search", "bank", "--in", "{texts}"),
    "tokenize": ("tokenize", TEXT),
    "tokenize by two": ("tokenize", "-m", "minilm", "-m", "{model}", TEXT),
    "tokenize, counted": ("tokenize", "--count", TEXT),
    "attention": ("attention", TEXT),
    "attention explained": ("attention", TEXT, "--explain", "bank"),
    "params": ("params", "bert-tiny", "--lora", "r=8", "--fits", "24GB"),
    "params of a checkpoint": ("params", "{model}", "--checkpoint"),
    "params, listed": ("params", "--list", "bert"),
    "cost": ("cost", "bert-tiny", "--tokens", "1B", "--gpu", "h100", "--gpus", "8"),
    "cost of accelerators": ("cost", "--accelerators"),
    "cost of a budget": ("cost", "--budget", "1e21flops"),
    "runs": ("runs", "{root}/runs"),
    "runs compared": ("runs", "{root}/runs", "reviews", "again"),
    "push": ("push", "{root}/runs/reviews", "me/reviews", "--license", "mit", "--dry-run"),
    "evaluate": ("evaluate", "{root}/runs/reviews", "--data", "{data}", "--resamples", "20"),
    "finetune, checked": ("finetune", "{root}/run.json", "--check"),
    "finetune": ("finetune", "{root}/run.json"),
    "models": ("models",),
    "doctor": ("doctor",),
    "schema": ("schema",),
}
ELSEWHERE = {
    "pipeline": "tests/cli/test_every_task.py calls every task",
    "demo": "tests/cli/test_demo.py writes a Space",
    "export": "tests/cli/test_export.py exports a model",
    "models prepare": "tests/cli/test_models.py fetches one",
    "models list": "tests/cli/test_options.py: as models",
    "warm": "tests/serving starts workers",
    "warm list": "tests/serving starts workers",
}
# Quickly enough they are tried by tests/cli/test_finetune.py.
SLOW = ("finetune", "finetune, checked")
# Their figures have names that nobody knows before.
OPEN = ("cost", "cost of a budget", "finetune")


@pytest.fixture(scope="module")
def outputs(
    llmkit: Command, tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Any]:
    """A real output of each call, made when it is asked for."""
    root = tmp_path_factory.mktemp("schema")
    model = tiny("text-classification")
    finished_run(root, model)
    again = finished_run(root / "second", model)
    again.rename(root / "runs" / "again")
    texts = root / "texts.txt"
    texts.write_text(f"{TEXT}\n{WHOLE}\n")
    labels = list(json.loads((model / "config.json").read_text())["id2label"].values())
    rows = [{"text": text, "label": label} for text in (TEXT, WHOLE) for label in labels * 2]
    data = root / "rows.jsonl"
    data.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    config = {
        "task": "text-classification",
        "model": str(model),
        "data": {"train": str(data), "validation": 0.5},
        "training": {"epochs": 1, "precision": "float32"},
        "output": str(root / "trained"),
    }
    (root / "run.json").write_text(json.dumps(config))
    names = {"texts": texts, "model": model, "root": root, "data": data}
    made: dict[str, Any] = {}

    def output(name: str) -> Any:
        if name not in made:
            call = [each.format_map(names) for each in CALLS[name]]
            done = llmkit(*call, cwd=root, env={"LLMKIT_CACHE": str(root / "cache")})
            assert done.code == 0, done.stderr
            value = done.json if "json" in call else done.lines[0]
            made[name] = value
        return copy.deepcopy(made[name])

    return output


def command_of(name: str) -> str:
    return CALLS[name][0]


each_call = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in CALLS]
)


@each_call
def test_a_real_output_is_as_the_schema_says(name: str, outputs: Callable[[str], Any]) -> None:
    validator = validator_of(command_of(name))
    value = outputs(name)
    assert validator.is_valid(value), next(validator.iter_errors(value))


@each_call
def test_another_is_not(name: str, outputs: Callable[[str], Any]) -> None:
    """A key that nobody knows, one that is missing where none of the command's shapes does without, another type."""
    validator = validator_of(command_of(name))
    more = outputs(name) | {"unheard of": "x"}
    assert not validator.is_valid(more)
    of_another_type = {key: object_of_another_type(value) for key, value in outputs(name).items()}
    for key, value in of_another_type.items():
        assert name in OPEN or not validator.is_valid(outputs(name) | {key: value}), key
    kept = outputs(name)
    kept.pop(next(iter(kept)))
    assert not validator.is_valid(kept)


def object_of_another_type(value: Any) -> Any:
    """What is neither null nor what the value is."""
    return {"of": ["another", "type"]} if not isinstance(value, dict) else ["of another type"]


def test_every_command_is_covered() -> None:
    leaves = {name for name in EVERY if name != "llmkit" and not hasattr(EVERY[name], "commands")}
    of_groups = {name for name in COMMANDS if hasattr(EVERY[name], "commands")}
    told = {*SHAPES, *NO_JSON}
    assert {name for name in leaves if name not in told and name.partition(" ")[0] not in NO_JSON} == set()
    assert told <= {*leaves, *of_groups}
    assert not set(SHAPES) & set(NO_JSON)
    assert {command_of(name) for name in CALLS} | set(ELSEWHERE) == set(SHAPES)


def test_what_is_printed_is_a_schema(llmkit: Command) -> None:
    printed = llmkit("schema", "embed").json
    assert printed == schema_of("embed")
    assert printed["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for name in SHAPES:
        if name != "pipeline":
            command, _, part = name.partition(" ")
            jsonschema_rs.meta.validate(schema_of(command, part or None))


@pytest.mark.parametrize("task", tasks())
def test_a_task_has_a_schema(task: str) -> None:
    schema = schema_of("pipeline", task)
    jsonschema_rs.meta.validate(schema)
    assert {"anyOf", "type", "items"} & set(schema), "it allows anything"


def test_an_alias_is_its_task() -> None:
    assert schema_of("pipeline", "ner") == schema_of("pipeline", "token-classification")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("embd",), "did you mean embed"),
        (("pipeline",), "name one"),
        (("pipeline", "nerr"), "did you mean ner"),
        (("card",), "prints Markdown"),
        (("embed", "ner"), "no such command that prints JSON: 'embed ner'"),
        (("embed", "-f", "csv"), "--format csv"),
    ],
)
def test_usage(llmkit: Command, arguments: tuple[str, ...], said: str) -> None:
    done = llmkit("schema", *arguments)
    assert (done.code, done.stdout) == (2, b"")
    assert said in done.stderr


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (("pipeline", "ner", "x"), '[{"entity": "PER"}]'),
        (("embed", "x"), '{"text": "x"}'),
        (("tasks", "--format", "json"), '[{"task": "ner"}]'),
        (("similarity", "a", "b", "-fjson"), '{"measure": "cosine"}'),
        (("models", "prepare", "ner", "--to", "x"), '{"model": "x"}'),
    ],
)
def test_the_look_at_every_call_sees_what_is_wrong(arguments: tuple[str, ...], printed: str) -> None:
    with pytest.raises(AssertionError):
        assert_shaped(arguments, 0, printed.encode())
    assert_shaped(arguments, 1, printed.encode())


@pytest.mark.parametrize("command", [each for each in SHAPES if each != "pipeline"])
def test_descriptions_are_sentences_and_no_docstrings(command: str) -> None:
    text = json.dumps(schema_of(*command.split()))
    assert [mark for mark in ("Attributes:", "``", "\\n") if mark in text] == []


def test_a_description_stands_at_the_key_that_it_is_of() -> None:
    schema = schema_of("evaluate")
    assert schema["description"] == "What a model is worth on a set."
    assert schema["properties"]["metrics"]["description"] == "the loss and the results of the metrics."
    worst = schema["$defs"]["WorstExample"]["properties"]
    assert worst["expected"]["description"] == worst["predicted"]["description"] != ""
    assert set(schema["properties"]["confusion"]) == {"anyOf", "description"}
