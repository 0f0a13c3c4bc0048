"""From a YAML file to a checked config: every problem of the file in one message, each with its place."""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from llmkit.data.small_files import read_small
from llmkit.data.yaml_text import Place, YamlText, read_yaml
from llmkit.errors import UsageError, did_you_mean
from llmkit.wanted import SECTION, wanted_by

if TYPE_CHECKING:
    from llmkit.training.config import FinetuneConfig, ShardingSection

MOST_BYTES = 4_000_000
_LONGEST_SHOWN = 60
_MOST_PROBLEMS = 20  # that are told one by one
_MISFIT = "misfit"


def load_config(path: str, changes: Mapping[str, Any] | None = None) -> FinetuneConfig:
    """Read and check a config.

    Args:
        path: a file of YAML or JSON.
        changes: values to set, by their dotted name: ``{"training.learning_rate": 3e-5}``.

    Raises:
        UsageError: the file cannot be read, is not YAML, or says something that is not allowed; all of it in
            one message, each problem with file, line, column, the text, what is allowed and the nearest name.
    """
    text = _read(path)
    document = read_yaml(text, path)
    if not isinstance(document.value, dict):
        kind = "a list" if isinstance(document.value, list) else f"the text {_shown(str(document.value))}"
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
        with contextlib.suppress(ValidationError):  # what is right by itself may still not go together
            errors += _misfits(FinetuneConfig.model_validate(_without(values, errors)))
    if len(errors) > 1:  # a hint stands at the end of its own line
        for each in errors:
            if each.get("hint") and "did you mean" not in each["msg"]:
                each["msg"] += f" {each['hint']}"
    found = _problems(errors[:_MOST_PROBLEMS], where, document, changed, options)
    problems = sorted(found, key=lambda problem: problem[0])
    lines = list(dict.fromkeys(text for _, text in problems))
    if len(lines) == 1:
        raise UsageError(lines[0], hint=errors[0].get("hint"))
    more = len(errors) - _MOST_PROBLEMS
    told = [*lines, f"… and {more:,} more."] if more > 0 else lines
    count = len(lines) + max(more, 0)
    raise UsageError("\n".join([f"{count:,} problems in {where}:", *(f"  {line}" for line in told)]))


def _without(values: Mapping[str, Any], errors: list[Any]) -> dict[str, Any]:
    """Return a copy of the values that lacks those that errors are about."""
    left: dict[str, Any] = copy.deepcopy(dict(values))
    for error in errors:
        inner: Any = left
        for key, below in itertools.pairwise((*error["loc"], None)):
            if not isinstance(inner, dict) or key not in inner:
                break
            if isinstance(inner[key], dict) and below in inner[key]:
                inner = inner[key]
                continue
            del inner[key]
            break
    return left


def _misfits(config: FinetuneConfig) -> Iterator[dict[str, Any]]:
    """Go through values that are allowed by themselves and not together with the others, as errors of pydantic."""
    from llmkit.data.readers import format_named
    from llmkit.training.objectives import objective_class
    from llmkit.training.task_metrics import misfit as metric_misfit

    def misfit(path: tuple[Any, ...], reason: str, hint: str | None = None) -> dict[str, Any]:
        return {"type": _MISFIT, "loc": path, "msg": reason, "hint": hint}

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


def _problems(
    errors: list[Any],
    where: str,
    document: YamlText | None,
    changed: tuple[str, ...],
    options: Mapping[str, str],
) -> Iterator[tuple[tuple[int, int], str]]:
    for error in errors:
        path = _path(error["loc"], document)
        name = _short(".".join(map(str, path)))
        place = _place_of(error, path, document)
        if error["type"] == "invalid_key":
            name = ".".join(map(str, (*path[:-1], _shown(error["input"]))))
        full_name = ".".join(map(str, _path(error["loc"], None)))
        said_by = _change_behind(full_name, place, changed)
        option = next((key for key in options if f"{full_name}.".startswith(f"{key}.")), None)
        if said_by is not None:
            prefix, order = f"--set {said_by}", (0, 0)
        elif option is not None:  # of a list the value is named, and not its number
            below = full_name.removeprefix(option).lstrip(".")
            prefix, order = (
                " ".join(filter(None, (options[option], "" if below.isdigit() else below))),
                (0, 0),
            )
        else:
            at = f":{place.line}:{place.column}" if place else ""
            prefix, order = f"{where}{at}", (place.line, place.column) if place else (1 << 30, 0)
            prefix += f": {name}" if name else ""
        told, given = _explain(error, path), _shown(error.get("input"))
        if order == (0, 0) and told.startswith(f"{given} should be "):  # as of any other option
            told = f"it {told.removeprefix(given).lstrip()}"
            prefix += f"{' ' if said_by is None else '='}{given}"
        yield order, f"{prefix}: {told}"


def _change_behind(name: str, place: Place | None, changed: tuple[str, ...]) -> str | None:
    """Return what was set beside the file that a problem comes from; None if it comes from the file."""
    for key in changed:
        if name == key or name.startswith(f"{key}.") or (key.startswith(f"{name}.") and place is None):
            return key
    return None


def _path(loc: tuple[Any, ...], document: YamlText | None) -> tuple[Any, ...]:
    """Return the part of pydantic's location that is in the file: it adds the branch of a union."""
    path: tuple[Any, ...] = ()
    for step in loc:
        is_word = not isinstance(step, str) or step.isidentifier() or ("-" in step and "[" not in step)
        if is_word or (document is not None and (*path, step) in document.keys):
            path = (*path, step)  # and not a branch, such as list[constrained-str]
    if document is None:
        return path
    while path and path not in document.keys and path not in document.values and path[:-1] in document.texts:
        path = path[:-1]
    return path


def _place_of(error: Mapping[str, Any], path: tuple[Any, ...], document: YamlText | None) -> Place | None:
    if document is None:
        return None
    if error["type"] == "extra_forbidden":
        return document.keys.get(path)
    if error["type"] == "invalid_key":
        return document.keys.get((*path[:-1], error["input"]))
    while path and path not in document.values:
        path = path[:-1]
    return document.values.get(path)


def _explain(error: Mapping[str, Any], path: tuple[Any, ...]) -> str:
    """Say what is wrong and what is allowed."""
    from llmkit.training.objectives import nearest_task

    kind, context, given = error["type"], error.get("ctx", {}), error.get("input")
    if kind == "extra_forbidden":
        return _unknown_key(path)
    if kind == "missing":
        return "is missing."
    if kind == "literal_error":
        allowed = context["expected"].replace("'", "")
        known = allowed.replace(" or ", ", ").split(", ")
        near = nearest_task(str(given)) if path == ("task",) else did_you_mean(str(given), known)
        return f"{_shown(given)} is not one of {allowed}" + (f"; {near}" if near else ".")
    if kind == "invalid_key":
        return "a key should be a word."
    if kind == _MISFIT:
        return str(error["msg"])
    if kind in ("too_short", "string_too_short"):
        return f"{_shown(given)} is empty."
    wanted = str(context["error"]) if kind == "value_error" else wanted_by(error["msg"])
    if wanted == SECTION and path == ("model",):
        wanted = f"a model's name, or {wanted}"
    return f"{_shown(given)} should be {wanted}."


# What other programs call these keys.
_OTHER_NAMES = {
    "lr": "training.learning_rate",
    "bs": "training.batch_size",
    "wd": "training.weight_decay",
    "num_epochs": "training.epochs",
    "num_train_epochs": "training.epochs",
    "per_device_train_batch_size": "training.micro_batch_size",
    "train_batch_size": "training.batch_size",
    "lr_scheduler_type": "training.schedule",
    "gradient_accumulation_steps": "training.micro_batch_size",
    "output_dir": "output",
    "model_name_or_path": "model.name",
    "train_file": "data.train",
    "validation_file": "data.validation",
    "lora": "adapter",
    "lora_r": "adapter.r",
    "lora_alpha": "adapter.alpha",
}


def _unknown_key(path: tuple[Any, ...]) -> str:
    """Say where a key belongs, or which is like it."""
    if not path:  # a name that is none, in what was set beside the file
        return f"unknown key. There are: {', '.join(_sections()[''])}."
    key = str(path[-1])
    usual = _OTHER_NAMES.get(key)
    if usual is not None:
        return f"unknown key; did you mean {usual}?"
    below, _, last = key.partition(".")
    if last and len(path) == 1 and last in _schema_at((below,)):
        return f"unknown key; write {last} under {below}:"
    section = _schema_at(path[:-1])
    home = [name for name in _sections() if key.replace("-", "_") in _sections()[name]]
    near = did_you_mean(key.replace("-", "_"), section)
    if near:
        return f"unknown key; {near}"
    if path[0] == "generation":  # what belongs to drawing at random is of no use elsewhere
        return f"unknown key. There are: {', '.join(section)}."
    if home:
        return (
            f"unknown key here: it belongs under {home[0]}:"
            if home[0]
            else "unknown key here: it belongs at the top."
        )
    elsewhere = {name: section for section, names in _sections().items() for name in names}
    near = did_you_mean(key, elsewhere)
    if near:
        found = near.removeprefix("did you mean ").removesuffix("?")
        under = elsewhere[found]
        return f"unknown key; did you mean {under + '.' if under else ''}{found}?"
    return f"unknown key. There are: {', '.join(section)}."


def _sections() -> dict[str, list[str]]:
    """Return the keys of each section, those of the top under ""."""
    from llmkit.training.config import FinetuneConfig, Section

    sections: dict[str, list[str]] = {"": list(FinetuneConfig.model_fields)}
    for name, field in FinetuneConfig.model_fields.items():
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        for candidate in candidates:
            if isinstance(candidate, type) and issubclass(candidate, Section):
                sections[name] = list(candidate.model_fields)
    return sections


def _schema_at(path: tuple[Any, ...]) -> list[str]:
    return _sections().get(".".join(map(str, path)), [])


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    if isinstance(value, bool) or value is None:
        text = {True: "true", False: "false", None: "null"}[value]
    return _short(text)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"
