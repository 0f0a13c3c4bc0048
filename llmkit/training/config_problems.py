"""What is wrong with a config, in words: each problem with its place, what is allowed, and the nearest name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llmkit.data.yaml_text import Place, YamlText
from llmkit.errors import did_you_mean
from llmkit.wanted import SECTION, wanted_by

MISFIT = "misfit"
"""The kind of an error that is not pydantic's: of values that do not go together."""
_LONGEST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem.

    Attributes:
        order: by which problems are told: line and column; what was set beside the file comes first.
        text: the place, and what is wrong there.
        hint: the way on.
    """

    order: tuple[int, int]
    text: str
    hint: str | None


def with_hints(problems: Iterable[Problem]) -> Iterator[str]:
    """Go through the lines that tell of several problems, each once: a hint stands at the end, the first time."""
    told: set[str] = set()
    for problem in problems:
        if problem.text in told:
            continue
        told.add(problem.text)
        hint = problem.hint
        if hint is None or hint in told or "did you mean" in problem.text:
            yield problem.text
        else:
            told.add(hint)
            yield f"{problem.text} {hint}"


def problems_of(
    errors: Iterable[Any],
    where: str,
    document: YamlText | None,
    changed: tuple[str, ...],
    options: Mapping[str, str],
) -> Iterator[Problem]:
    """Go through errors as problems.

    Args:
        errors: as pydantic has them, and such of the kind `MISFIT`.
        where, document, changed, options: as for `config_file.check_config`.
    """
    for error in errors:
        path = _path(error["loc"], document)
        place = _place_of(error, path, document)
        full_name = ".".join(map(str, _path(error["loc"], None)))
        said_by = _change_behind(full_name, place, changed)
        option = next((key for key in options if f"{full_name}.".startswith(f"{key}.")), None)
        told, given = _explain(error, path), shown(error.get("input"))
        order = (0, 0)
        if said_by is not None:
            prefix = ": ".join([f"--set {said_by}", *_below(full_name, said_by)])
            whole = f"--set {said_by}={given}"
        elif option is not None:
            prefix = " ".join([options[option], *_below(full_name, option)])
            plain = ",".join(map(str, error["input"])) if isinstance(error.get("input"), list) else given
            whole = f"{options[option]} {plain}"
        else:
            order, prefix = _in_the_file(error, path, place, where)
            whole = None
        if whole is not None and full_name in (said_by, option) and told.startswith(f"{given} should be "):
            told = f"it {told.removeprefix(given).lstrip()}"  # as of any other option
            prefix = whole
        yield Problem(order, f"{prefix}: {told}", error.get("hint"))


def _below(name: str, key: str) -> list[str]:
    """Return which key of the value of `key` is meant, if it is one; of a list the value is named, not its number."""
    below = name.removeprefix(f"{key}.") if name.startswith(f"{key}.") else ""
    return [below] if below and not below.isdigit() else []


def _in_the_file(
    error: Mapping[str, Any], path: tuple[Any, ...], place: Place | None, where: str
) -> tuple[tuple[int, int], str]:
    name = _short(".".join(map(str, path)))
    if error["type"] == "invalid_key":
        name = ".".join(map(str, (*path[:-1], shown(error["input"]))))
    named = f": {name}" if name else ""
    if place is None:
        return (1 << 30, 0), f"{where}{named}"
    return (place.line, place.column), f"{where}:{place.line}:{place.column}{named}"


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
        return f"{shown(given)} is not one of {allowed}" + (f"; {near}" if near else ".")
    if kind == "invalid_key":
        return "a key should be a word."
    if kind == MISFIT:
        return str(error["msg"])
    if kind in ("too_short", "string_too_short"):
        return f"{shown(given)} is empty."
    wanted = str(context["error"]) if kind == "value_error" else wanted_by(error["msg"]) or error["msg"]
    if wanted == SECTION and path == ("model",):
        wanted = f"a model's name, or {wanted}"
    return f"{shown(given)} should be {wanted}."


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


def shown(value: Any) -> str:
    """Return a value as a message has it: as YAML would, and not all of a long one."""
    text = repr(value) if isinstance(value, str) else str(value)
    if isinstance(value, bool) or value is None:
        text = {True: "true", False: "false", None: "null"}[value]
    return _short(text)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"
