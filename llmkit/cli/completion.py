"""What a shell offers after Tab: names from the tables and of the runs that are here, without anything heavy.

The parser leaves out what does not begin as the word that is being typed, and where nothing is left the shell
offers files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

RUNS = "runs"
_BOOLEANS = ("true", "false")
# The hub goes on answering to the names that their models had before names had owners.
_OWNERS_OF_BARE_NAMES = (
    "openai-community",
    "google-bert",
    "google-t5",
    "distilbert",
    "albert",
    "FacebookAI",
    "xlnet",
)


def one_of(*names: str) -> Callable[[], list[str]]:
    """Return what offers some names."""
    return lambda: list(names)


def complete_task() -> list[str]:
    """Offer the tasks of `llmkit pipeline`."""
    from llmkit.tasks.catalogue import task_names

    return task_names()


def complete_served() -> list[str]:
    """Offer what `llmkit serve` serves: tasks, embeddings and chat."""
    return [*complete_task(), "embeddings", "chat"]


def complete_training_task() -> list[str]:
    """Offer the tasks of `llmkit finetune`."""
    from llmkit.training.objectives import OBJECTIVES

    return list(OBJECTIVES)


def complete_metric() -> list[str]:
    """Offer the metrics."""
    from llmkit.metrics import metric_names

    return metric_names()


def complete_catalogue() -> list[str]:
    """Offer the models of the catalogue, by all names that have no owner before them."""
    from llmkit.architectures import catalogue

    names = (name for entry in catalogue.entries().values() for name in (entry.name, *entry.aliases))
    return list(dict.fromkeys(name for name in names if "/" not in name))


def complete_head() -> list[str]:
    """Offer the heads of `llmkit params`."""
    from llmkit.architectures.heads import HEAD_NAMES

    return list(HEAD_NAMES)


def complete_accelerator() -> list[str]:
    """Offer the accelerators of `llmkit cost`."""
    from llmkit.hardware.accelerators import CPU, accelerators

    return [*accelerators(), CPU]


def complete_recompute() -> list[str]:
    """Offer which activations may be computed again."""
    from llmkit.costs.choice import RECOMPUTE

    return list(RECOMPUTE)


def complete_grid() -> list[str]:
    """Offer the grids by their codes."""
    from llmkit.hardware.grids import grid_codes

    return grid_codes()


def complete_model_type() -> list[str]:
    """Offer the model types that the installed transformers knows."""
    from llmkit.architectures.model_types import model_types

    return sorted(model_types())


def complete_input_format() -> list[str]:
    """Offer the formats that rows are read from."""
    from llmkit.data.readers import READ_FORMATS

    return list(READ_FORMATS)


def complete_sort(ctx: typer.Context) -> list[str]:
    """Offer what the runs in the folder that stands before can be sorted by."""
    from llmkit.errors import LlmkitError
    from llmkit.training.runs import find_runs, sort_keys

    try:
        return sort_keys(find_runs(Path(ctx.params.get("folder") or RUNS)))
    except LlmkitError:
        return sort_keys(())


def _bare_hub_names() -> list[str]:
    from llmkit.architectures import catalogue

    ids = (entry.hub_id.partition("/") for entry in catalogue.entries().values())
    return [name for owner, _, name in ids if owner in _OWNERS_OF_BARE_NAMES]


def complete_model(incomplete: str) -> list[str]:
    """Offer the names of models that have no owner before them, and the runs that are here."""
    from llmkit.models.embedded import EMBEDDED_NAME
    from llmkit.models.short_names import SHORT_NAMES

    return [EMBEDDED_NAME, *SHORT_NAMES, *_bare_hub_names(), *complete_run(incomplete)]


def complete_demo(incomplete: str) -> list[str]:
    """Offer tasks and models."""
    return [*complete_task(), *complete_model(incomplete)]


def complete_run(incomplete: str) -> list[str]:
    """Offer the runs in the folder that is being typed, else those in ``runs``."""
    folder = incomplete.rpartition("/")[0] if "/" in incomplete else RUNS
    return [f"{folder}/{name}" for name in _run_names(folder)]


def complete_run_name(ctx: typer.Context) -> list[str]:
    """Offer the runs in the folder that stands before."""
    return _run_names(ctx.params.get("folder") or RUNS)


def _run_names(folder: str) -> list[str]:
    from llmkit.training.runs import run_names

    return run_names(Path(folder))


def _pairs(keys: Iterable[str], values: Callable[[str], Iterable[str]], incomplete: str) -> list[str]:
    """Offer keys as ``key=``; of the one that is typed, or the only one left, the values as ``key=value``.

    A shell adds a blank after the only word that is left: with its values, a key is never that word.
    """
    typed, equals, _ = incomplete.partition("=")
    left = [key for key in keys if key.startswith(typed)]
    only = typed if equals else left[0] if len(left) == 1 else ""
    offered = [f"{only}={value}" for value in values(only)] if only else []
    return offered if offered or equals else [f"{key}=" for key in left]


def complete_config_key(incomplete: str) -> list[str]:
    """Offer the keys of a config of `llmkit finetune`, ``training.learning_rate=``, and the values that are words."""
    from llmkit.training.config import FinetuneConfig

    types = dict(_types_of_keys(FinetuneConfig)) | {"model": str}  # its name alone is a model, too

    def values(key: str) -> list[str]:
        if key in ("model", "model.name"):
            return complete_model(incomplete.partition("=")[2])
        if key in ("metrics", "training.best_metric"):
            return complete_metric()
        return list(_words_of(types.get(key)))

    return _pairs(types, values, incomplete)


def _types_of_keys(section: Any) -> Iterator[tuple[str, Any]]:
    """Go through the keys of a section of the config: their dotted names and types, without the sections themselves."""
    for name, field in section.model_fields.items():
        inner = [each for each in _types_in(field.annotation) if hasattr(each, "model_fields")]
        if not inner:
            yield name, field.annotation
        for each in inner:
            yield from ((f"{name}.{key}", annotation) for key, annotation in _types_of_keys(each))


def _words_of(annotation: Any) -> Iterator[str]:
    """Go through the words that a value may be: those of a Literal, true and false."""
    for each in _types_in(annotation):
        if isinstance(each, str):
            yield each
        elif each is bool:
            yield from _BOOLEANS


def _types_in(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _types_in(part)


def complete_model_key(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the keys of the config of the models that are named, of `--finetune` those of a config of a run."""
    if ctx.params.get("finetune"):
        return complete_config_key(incomplete)
    config = _model_config(_arguments(ctx, "models") or _arguments(ctx, "model"))
    return _pairs(config, lambda key: _BOOLEANS if isinstance(config.get(key), bool) else (), incomplete)


def _arguments(ctx: typer.Context, name: str) -> list[str]:
    """Return what was given for an argument; before an option that has no value yet it is left over."""
    given = ctx.params.get(name) or ctx.args
    return [given] if isinstance(given, str) else list(given)


def _model_config(names: Iterable[str]) -> Mapping[str, Any]:
    from llmkit.architectures import catalogue

    found = [entry for entry in map(catalogue.find, names) if entry is not None]
    return {key: value for entry in found for key, value in entry.config.items()}


def complete_parameter(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the parameters that the task's call takes, ``top_k=``, and true and false for those that are either."""
    from llmkit.tasks.catalogue import find_task, task_names
    from llmkit.tasks.parameter_values import documented_types
    from llmkit.tasks.parameters import parameters_of

    name = next(iter(_arguments(ctx, "task")), "")
    if name not in task_names():
        return []
    task = find_task(name).task
    own = parameters_of(task).own
    return _pairs(own, lambda key: _BOOLEANS if documented_types(task).get(key) == "bool" else (), incomplete)


def complete_shape() -> list[str]:
    """Offer the commands that print JSON."""
    from llmkit.cli.shapes import SHAPES

    return list(dict.fromkeys(name.partition(" ")[0] for name in SHAPES))


def complete_shape_part(ctx: typer.Context) -> list[str]:
    """Offer the tasks of pipeline, or a command's subcommands that print JSON."""
    from llmkit.cli.shapes import PIPELINE, SHAPES

    command = ctx.params.get("command")
    if command == PIPELINE:
        return complete_task()
    return [part for name, _, part in (each.partition(" ") for each in SHAPES) if part and name == command]


def complete_format() -> list[str]:
    """Offer the formats of results that come row by row."""
    from llmkit.data.formats import FORMATS, TABLE

    return [TABLE, *FORMATS]


def complete_report_format() -> list[str]:
    """Offer the formats of reports."""
    from llmkit.cli.answers import FORMATS

    return list(FORMATS)


def complete_vector_format() -> list[str]:
    """Offer the formats of vectors."""
    from llmkit.embeddings.vector_formats import BARE_FORMATS

    return [*complete_format(), *BARE_FORMATS]


def complete_any_format() -> list[str]:
    """Offer the formats of results that come row by row, and of reports."""
    return list(dict.fromkeys((*complete_format(), *complete_report_format())))
