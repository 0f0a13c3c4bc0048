"""Whether the value of a parameter can be meant: a word where a number goes, a value the pipeline refuses.

A pipeline that is given ``top_k=many`` may ignore it without a word, or fail in the middle of a tensor.
What a parameter wants is said in the docstrings and signatures of the pipelines' source, which is read
without importing it; what else a pipeline refuses, it says when it sorts its parameters.
"""

from __future__ import annotations

import ast
import enum
import functools
import math
import re
import string
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from llmkit.errors import UsageError, did_you_mean
from llmkit.tasks.catalogue import Task
from llmkit.tasks.upstream import parse_module
from llmkit.wanted import should_be

_WANTED = {"int": "a whole number", "float": "a number", "bool": "true or false"}
_DOCUMENTED = re.compile(r"(?m)^\s*(\w+) \(`(int|float|bool)`([^)]*)\)")
_ANNOTATED = re.compile(r"(int|float|bool)( \| None)?")
# Below these a pipeline gives nothing, or an error of torch's. (Generation's own top_k may be 0: it is then off.)
_LEAST = {
    "top_k": 1,
    "max_answer_len": 1,
    "max_seq_len": 1,
    "max_question_len": 1,
    "doc_stride": 0,
    "stride": 0,
}
_MEANT = {("zero-shot-object-detection", "top_k", 0)}  # there it is all of them
_GENERATION = "transformers.generation.configuration_utils"
# parameter -> the module and the enumeration that have its values
_STRATEGIES = {
    "padding": ("transformers.utils.generic", "PaddingStrategy"),
    "truncation": ("transformers.tokenization_utils_base", "TruncationStrategy"),
}
_WITH_STRATEGIES_OF_THEIR_OWN = ("table-question-answering",)


def check_types(task: Task, parameters: Mapping[str, Any]) -> None:
    """Check the parameters of a task before its pipeline is there.

    Raises:
        UsageError: one is documented as a number or a truth value and is given none, is below what it can be, is a
            strategy that is none, or a template that has more than the label in it.
    """
    wanted = documented_types(task) if parameters else {}
    _check_temperature(parameters)
    _check_template(parameters)
    if task.name not in _WITH_STRATEGIES_OF_THEIR_OWN:
        _check_strategies(parameters)
    for name, value in parameters.items():
        if name in wanted and not _is_one(value, wanted[name]):
            raise should_be(f"-p {name}={value}", _WANTED[wanted[name]])
    own = _own_types(task.impl.rpartition(".")[0]) if parameters else {}
    for name, least in _LEAST.items():
        value = parameters.get(name)
        if name not in own or isinstance(value, bool) or (task.name, name, value) in _MEANT:
            continue
        if isinstance(value, int | float) and value < least:
            raise should_be(f"-p {name}={value}", f"{least} or more")


def _check_template(parameters: Mapping[str, Any]) -> None:
    """A label goes into a template by Python's formatting, in which ``{:>1000000000}`` is a gigabyte of blanks."""
    template = parameters.get("hypothesis_template")
    if not isinstance(template, str):
        return
    try:
        fields = [field for field in string.Formatter().parse(template) if field[1] is not None]
    except ValueError:
        fields = []
    if not fields or any(field[1:] not in (("", "", None), ("0", "", None)) for field in fields):
        raise UsageError(
            f"-p hypothesis_template={template}: the label goes where {{}} is, and nothing else is in braces."
        )


def _check_strategies(parameters: Mapping[str, Any]) -> None:
    """A tokenizer's words for how it pads and truncates, which it would refuse only when a row is there to blame."""
    for name, (module, enumeration) in _STRATEGIES.items():
        value = parameters.get(name)
        if not isinstance(value, str):
            continue
        known = _values_of(module, enumeration)  # a large file is read for it
        if known and value not in known:
            guess = did_you_mean(value, known)
            raise UsageError(
                f"-p {name}={value}: none of its values" + (f"; {guess}" if guess else "."),
                hint=f"It takes true, false, {', '.join(known)}.",
            )


@functools.cache
def _values_of(module: str, enumeration: str) -> tuple[str, ...]:
    """Return the values of an enumeration, in the order of its source."""
    tree = parse_module(module) or ast.Module([], [])
    found = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == enumeration)
    return tuple(
        str(each.value.value)
        for node in found
        for each in node.body
        if isinstance(each, ast.Assign) and isinstance(each.value, ast.Constant)
    )


def _is_one(value: Any, kind: str) -> bool:
    if isinstance(value, float):
        return value.is_integer() if kind == "int" else math.isfinite(value)
    return not isinstance(value, str | list | dict)


def _check_temperature(parameters: Mapping[str, Any]) -> None:
    """Elsewhere 0 stands for the likeliest token each time; ``generate`` divides by it."""
    value = parameters.get("temperature")
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if value <= 0 and parameters.get("do_sample") is not False:
        raise should_be(
            f"-p temperature={value}",
            "above 0",
            hint="For the likeliest token each time: -p do_sample=false",
        )


def documented_types(task: Task) -> dict[str, str]:
    """Return which parameters are documented as ``int``, ``float`` or ``bool``, of the pipeline and of generation."""
    return _types_of_module(task.impl.rpartition(".")[0])


@functools.cache
def _types_of_module(module: str) -> dict[str, str]:
    return {**_own_types(_GENERATION), **_own_types(module)}


@functools.cache
def _own_types(module: str) -> dict[str, str]:
    return dict(_types_in(module))


def _types_in(module: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(parse_module(module) or ast.Module([], [])):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for name, kind, rest in _DOCUMENTED.findall(node.value):
                if not re.search("str|list|dict|tuple", rest, re.IGNORECASE):
                    yield name, kind
        elif isinstance(node, ast.FunctionDef) and node.name == "_sanitize_parameters":
            for argument in (*node.args.args, *node.args.kwonlyargs):
                kind = _ANNOTATED.fullmatch(ast.unparse(argument.annotation)) if argument.annotation else None
                if kind is not None:
                    yield argument.arg, kind[1]


def check_accepted(pipe: Any, parameters: Mapping[str, Any]) -> None:
    """Let the pipeline sort its parameters before there is an input to blame.

    Raises:
        UsageError: it refuses one of them, or all of them together.
    """
    error = _refusal(pipe, parameters)
    if error is None:
        return
    alone = [name for name, value in parameters.items() if _refusal(pipe, {name: value}) is not None]
    shown = " ".join(f"-p {name}={parameters[name]}" for name in alone[:1] or parameters)
    known = _enumerated(pipe) if isinstance(error, KeyError) else ()
    raise UsageError(f"{shown}: {_reason(error)}", hint=f"It takes {', '.join(known)}." if known else None)


def _enumerated(pipe: Any) -> tuple[str, ...]:
    """Return the values of the one enumeration that a pipeline's module has; none where there are several."""
    module = sys.modules[type(pipe).__module__]
    found = [
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, enum.Enum) and each.__module__ == module.__name__
    ]
    return tuple(str(each.value) for each in found[0]) if len(found) == 1 else ()


def _refusal(pipe: Any, parameters: Mapping[str, Any]) -> Exception | None:
    try:
        _, forward, _ = pipe._sanitize_parameters(**parameters)
        _check_generation(pipe, forward)
    except Exception as error:
        return error
    return None


def _check_generation(pipe: Any, forward: Mapping[str, Any]) -> None:
    if not getattr(pipe, "_pipeline_calls_generate", False):
        return
    from transformers import GenerationConfig

    known = vars(GenerationConfig())
    GenerationConfig(**{name: value for name, value in forward.items() if name in known})


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):  # a name that is looked up in an enumeration
        return "none of its values."
    return str(error).strip().partition("\n")[0] or type(error).__name__
