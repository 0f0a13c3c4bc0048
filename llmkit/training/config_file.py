"""From a YAML file to a checked config: every problem of the file in one message, each with its place."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from llmkit.data.small_files import read_small
from llmkit.data.sources import missing_file
from llmkit.data.yaml_text import YamlText, read_yaml
from llmkit.errors import UsageError, did_you_mean
from llmkit.training.config_problems import MISFIT, problems_of, shown, with_hints

if TYPE_CHECKING:
    from llmkit.training.config import FinetuneConfig, ShardingSection

MOST_BYTES = 4_000_000
_MOST_PROBLEMS = 20  # that are told one by one
_MOST_ROUNDS = 3


def load_config(path: str, changes: Mapping[str, Any] | None = None) -> FinetuneConfig:
    """Read and check a config.

    Args:
        path: a file of YAML or JSON.
        changes: values to set, by their dotted name: ``{"training.learning_rate": 3e-5}``.

    Raises:
        UsageError: the file cannot be read, is not YAML, or says something that is not allowed; all that can be
            told in one message, each problem with file, line, column, the text, what is allowed and the nearest name.
    """
    text = _read(path)
    document = read_yaml(text, path)
    if not isinstance(document.value, dict):
        kind = "a list" if isinstance(document.value, list) else f"the text {shown(str(document.value))}"
        what = "is empty" if document.value is None else f"holds {kind}, not keys with values"
        raise UsageError(f"{path} {what}.", hint="`llmkit config init TASK` writes one to start from.")
    set_values(document.value, changes or {})
    return check_config(document.value, path, document, changed=tuple(changes or ()))


def _read(path: str) -> str:
    try:
        return read_small(Path(path), path, MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path}: not UTF-8, from byte {error.start} on.",
            hint="Save it as UTF-8, which every editor can.",
        ) from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder.", hint="Name the config file in it.") from None
    except FileNotFoundError:
        raise missing_file(Path(path), path) from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}.") from None


def set_values(values: dict[Any, Any], changes: Mapping[str, Any]) -> None:
    """Put values into a config, by their dotted names."""
    for name, value in changes.items():
        _set(values, name, value)


def _set(values: dict[Any, Any], name: str, value: Any) -> None:
    *sections, key = name.split(".")
    for section in sections:
        below = values.get(section)
        # The short form of a section is its name or type: model: minilm.
        if section in _SHORT_FOR and isinstance(below, str):
            below = {_SHORT_FOR[section]: below}
        if not isinstance(below, dict):
            below = {}
        values[section] = below
        values = below
    values[key] = value


_SHORT_FOR = {"model": "name", "sharding": "type"}


def check_config(
    values: Mapping[str, Any],
    where: str,
    document: YamlText | None = None,
    changed: tuple[str, ...] = (),
    options: Mapping[str, str] = MappingProxyType({}),
) -> FinetuneConfig:
    """Check values against the schema.

    Args:
        document: the text they come from, for the places.
        changed: dotted names that were set beside the file.
        options: of values that are in no file, by their dotted names what they were given with: ``--metric``.

    Raises:
        UsageError: something is not allowed.
    """
    from pydantic import ValidationError

    from llmkit.training.config import FinetuneConfig

    try:
        config = FinetuneConfig.model_validate(values)
        errors: list[Any] = list(_misfits(config))
        if not errors:
            return config
    except ValidationError as error:
        errors = list(error.errors(include_url=False))
        rest = _rest_of(values, errors)
        if rest is not None:  # what is right by itself may still not go together
            wrong = {each["loc"][0] for each in errors if each["type"] != "missing" and each["loc"]}
            errors += [each for each in _misfits(rest) if _DEPENDS_ON.get(each["loc"][0]) not in wrong]
    found = problems_of(errors[:_MOST_PROBLEMS], where, document, changed, options)
    problems = sorted(found, key=lambda problem: problem.order)
    lines = list(dict.fromkeys(problem.text for problem in problems))
    if len(lines) == 1:
        raise UsageError(lines[0], hint=problems[0].hint)
    lines = list(with_hints(problems))
    more = len(errors) - _MOST_PROBLEMS
    told = [*lines, f"… and {more:,} more."] if more > 0 else lines
    count = len(lines) + max(more, 0)
    raise UsageError("\n".join([f"{count:,} problems in {where}:", *(f"  {line}" for line in told)]))


def _rest_of(values: Mapping[str, Any], errors: list[Any]) -> FinetuneConfig | None:
    """Return the config without what errors are about, or None where nothing is left; what must be there is made up."""
    from pydantic import ValidationError

    from llmkit.training.config import FinetuneConfig

    left: dict[str, Any] = copy.deepcopy(dict(values))
    for _ in range(_MOST_ROUNDS):
        for error in errors:
            _remove(left, error)
        data = left.setdefault("data", {})
        for section, key in ((left, "model"), (left, "output"), (data, "train")):
            if isinstance(section, dict):
                section.setdefault(key, "anything")
        try:
            return FinetuneConfig.model_validate(left)
        except ValidationError as error:
            errors = list(error.errors(include_url=False))
    return None


def _remove(left: dict[str, Any], error: Mapping[str, Any]) -> None:
    """Remove what an error is about; of a section that lacks a key, all of it."""
    path = tuple(error["loc"])
    if error["type"] == "missing":
        if len(path) > 1 and path[0] != "data":
            left.pop(path[0], None)
        return
    if error["type"] == "invalid_key":
        path = (*path[:-1], error["input"])
    inner: Any = left
    for key, below in itertools.pairwise((*path, None)):
        if not isinstance(inner, dict) or key not in inner:
            return
        if not (isinstance(inner[key], dict) and below in inner[key]):
            del inner[key]
            return
        inner = inner[key]


# Where there is something wrong in the section on the right, what the other says may fit all the same.
_DEPENDS_ON = {"training": "data", "tokenizer": "model", "sharding": "sharding"}


def _misfits(config: FinetuneConfig) -> Iterator[dict[str, Any]]:
    """Go through values that are allowed by themselves and not together with the others, as errors of pydantic."""
    from llmkit.data.readers import format_named
    from llmkit.training.objectives import objective_class
    from llmkit.training.task_metrics import misfit as metric_misfit

    def misfit(path: tuple[Any, ...], reason: str, hint: str | None = None) -> dict[str, Any]:
        return {"type": MISFIT, "loc": path, "msg": reason, "hint": hint}

    objective = objective_class(config.task)
    for number, name in enumerate(config.metrics or ()):
        try:
            wrong = metric_misfit(name, config.task, objective.gives)
        except UsageError as error:
            wrong = error
        if wrong is not None:
            yield misfit(("metrics", number), wrong.message, wrong.hint)
    if config.data.format is not None:
        try:
            format_named(config.data.format)
        except UsageError as error:
            yield misfit(("data", "format"), error.message, error.hint)
    fields = [field.name for field in objective.fields]
    for name in config.data.columns:
        if name not in fields:
            near = did_you_mean(name, fields)
            there = near or f"it takes {', '.join(fields)}."
            yield misfit(("data", "columns", name), f"{config.task} takes no such field; {there}")
    if config.tokenizer is not None and not config.model.from_scratch:
        yield misfit(
            ("tokenizer",),
            "a new vocabulary would not fit the weights of the model. "
            "Make it new: model: {name: …, from_scratch: true}.",
        )
    if config.sharding is not None:
        yield from (
            misfit(("sharding", *path), reason) for path, reason in _sharding_misfits(config.sharding)
        )
    if config.data.validation is None:
        for name in ("best_metric", "early_stopping"):
            if getattr(config.training, name) is not None:
                yield misfit(
                    ("training", name), "there is no validation set to judge by. Give data.validation."
                )


def _sharding_misfits(sharding: ShardingSection) -> Iterator[tuple[tuple[str, ...], str]]:
    if sharding.type == "fsdp" and sharding.config is not None:
        yield ("config",), "DeepSpeed's own file is for type: deepspeed."
    if sharding.type == "deepspeed" and sharding.config is None:
        yield (), "DeepSpeed needs its own config file: {type: deepspeed, config: zero.json}."
    if sharding.type == "deepspeed" and sharding.cpu_offload:
        yield ("cpu_offload",), "DeepSpeed's own file says it: zero_optimization.offload_optimizer."
