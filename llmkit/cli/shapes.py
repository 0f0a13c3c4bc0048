"""Which commands print JSON, and where each one's shape is declared: beside what makes it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.data.shapes import DIALECT, find_shape, json_schema
from llmkit.errors import UsageError, unknown
from llmkit.tasks.catalogue import find_task, task_names

if TYPE_CHECKING:
    from llmkit.tasks.catalogue import Task

PIPELINE = "pipeline"


@dataclass(frozen=True, slots=True)
class Given:
    """What one JSON object of a command is.

    Attributes:
        gives: in words.
        shapes: where the shapes are that it may have; none where it is told otherwise (`pipeline`: by its task).
    """

    gives: str
    shapes: tuple[str, ...] = ()


SHAPES: Mapping[str, Given] = {
    "pipeline": Given("what a task gives for one input: name the task, too"),
    "tasks": Given("a task, or one explained", ("llmkit.cli.tasks:TASK",)),
    "embed": Given(
        "a text with its vector, or those of its tokens or words", ("llmkit.cli.embed_views:VECTORS_OF_TEXT",)
    ),
    "similarity": Given(
        "two texts and how alike they are; with --format json of texts, all of them",
        ("llmkit.cli.similarity_views:SIMILARITY",),
    ),
    "search": Given("what was found for a query", ("llmkit.cli.search_views:Hit",)),
    "tokenize": Given(
        "a text with its tokens; with --count a model", ("llmkit.cli.tokenize_views:TOKENIZED",)
    ),
    "attention": Given(
        "a text with its weights; with --explain one token's calculation",
        ("llmkit.cli.explanation_views:ATTENTION",),
    ),
    "params": Given(
        "a model: its parameters and what it costs; with --total its number; with --list an entry of the catalogue",
        ("llmkit.architectures.report_shapes:PARAMETERS",),
    ),
    "cost": Given(
        "an estimate; with --table a published run, with --accelerators a device",
        (
            "llmkit.cli.cost_sheets:EstimateObject",
            "llmkit.costs.published:PublishedObject",
            "llmkit.hardware.accelerators:AcceleratorObject",
        ),
    ),
    "finetune": Given(
        "what a run came to; with --check what is known of it before it begins",
        ("llmkit.training.output:Outcome", "llmkit.training.checking:Checked"),
    ),
    "evaluate": Given("what a model is worth on the data", ("llmkit.training.evaluating:Evaluation",)),
    "runs": Given(
        "a run; of several by name, their comparison",
        ("llmkit.training.runs:RunSummary", "llmkit.cli.runs:Comparison"),
    ),
    "push": Given("what was sent; with --dry-run a file that would be", ("llmkit.cli.push:PUSHED",)),
    "demo": Given("with --space the folder that was written", ("llmkit.cli.demo_run:SpaceFolder",)),
    "export": Given(
        "an example, and how far the outputs are apart", ("llmkit.cli.export_run:ExampleCompared",)
    ),
    "models": Given("a model that is here", ("llmkit.cli.models:Listed",)),
    "models list": Given("a model that is here", ("llmkit.cli.models:Listed",)),
    "models prepare": Given("a model that was fetched", ("llmkit.cli.models:Fetched",)),
    "warm": Given("a process that keeps models loaded", ("llmkit.cli.warm:Worker",)),
    "warm list": Given("a process that keeps models loaded", ("llmkit.cli.warm:Worker",)),
    "doctor": Given("this machine", ("llmkit.launching.doctor:Examined",)),
    "schema": Given("without a command, a line of this list", ("llmkit.cli.schema:Listed",)),
}
"""By command, and by command and subcommand."""

NO_JSON: Mapping[str, str] = {
    "card": "prints Markdown",
    "serve": "answers over HTTP: its /openapi.json has the shapes",
    "config": "prints YAML, and `llmkit config schema` the JSON Schema of a config",
    "warm stop": "prints nothing",
}
"""The others, and what they print."""


@functools.cache
def schema_of(command: str, part: str | None = None) -> Mapping[str, Any]:
    """Return the JSON Schema of one JSON object that a command prints, without ``--keep-input``.

    Args:
        part: a task of `pipeline`; a subcommand of a command that has some.

    Raises:
        UsageError: there is no such command, part or task, or it prints no JSON.
    """
    name = command if part is None or command == PIPELINE else f"{command} {part}"
    if name in NO_JSON:
        raise UsageError(f"llmkit {name} {NO_JSON[name]}.", hint="`llmkit schema` lists what prints JSON.")
    if name not in SHAPES:
        raise unknown("command that prints JSON", name, SHAPES, hint="`llmkit schema` lists them.")
    if name == PIPELINE:
        return _schema_of_task(part)
    given = SHAPES[name]
    shapes = tuple(map(find_shape, given.shapes))
    found = json_schema(functools.reduce(lambda one, other: one | other, shapes))
    return _headed(f"llmkit {name}", found.get("description", given.gives), found)


def _schema_of_task(name: str | None) -> Mapping[str, Any]:
    if name is None:
        raise UsageError(
            "the JSON of pipeline is that of its task: name one.",
            hint=f"For example: llmkit schema pipeline {task_names()[-1]}; `llmkit tasks` lists them.",
        )
    task: Task = find_task(name).task
    found = json_schema(find_shape(task.result)) if task.result else {}
    about = f"{task.summary}. {found['description']}" if "description" in found else task.summary
    return _headed(f"llmkit pipeline {task.name}", about, found)


def _headed(title: str, description: str, found: Mapping[str, Any]) -> dict[str, Any]:
    return {"$schema": DIALECT, **found, "title": title, "description": description}


def document(schema: Mapping[str, Any]) -> bytes:
    """Return a JSON Schema as it is printed."""
    return f"{json.dumps(schema, indent=2, ensure_ascii=False)}\n".encode()
