"""Which parameters a pipeline call takes, read from its source without importing it.

A pipeline names its parameters in the signature of ``_sanitize_parameters``; some look them up in a
catch-all, and some pass the catch-all on to ``generate`` or to the tokenizer. All three are plain in
the source, so a misspelt ``-p`` is found before a model, or even torch, is loaded.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llmkit.errors import UsageError, did_you_mean
from llmkit.tasks.catalogue import Task
from llmkit.tasks.upstream import parse_module

_CATCH_ALL_KINDS = {
    "generate_kwargs": "generation",
    "model_kwargs": "generation",
    "tokenizer_kwargs": "tokenizer",
    "tokenize_kwargs": "tokenizer",
}
_GENERATE_ARGUMENTS = (
    "assistant_model",
    "custom_generate",
    "generation_config",
    "logits_processor",
    "negative_prompt_ids",
    "negative_prompt_attention_mask",
    "prefix_allowed_tokens_fn",
    "stopping_criteria",
    "streamer",
    "synced_gpus",
)
_GENERATION_DICT = "generate_kwargs"
_TOKENIZER_ARGUMENTS = (
    "add_special_tokens",
    "is_split_into_words",
    "max_length",
    "pad_to_multiple_of",
    "padding",
    "padding_side",
    "return_attention_mask",
    "return_token_type_ids",
    "stride",
    "truncation",
)


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of a pipeline call.

    Attributes:
        own: the pipeline's own parameters.
        passed_to: where any others go, ``generation`` or ``tokenizer``; empty: nowhere.
        is_open: anything else is passed on too, so that no name can be called wrong.
    """

    own: tuple[str, ...]
    passed_to: str = ""
    is_open: bool = False

    @property
    def passed_on(self) -> tuple[str, ...]:
        """What goes on to ``generate`` or the tokenizer; the first time, the one's source is read for it."""
        if self.passed_to == "generation":
            return generation_parameters()
        return _TOKENIZER_ARGUMENTS if self.passed_to == "tokenizer" else ()

    def arrange(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters as the pipeline wants them: some take those of generation in a dict of their own."""
        if not given or _GENERATION_DICT not in self.own:
            return dict(given)
        known = set(generation_parameters())
        nested = {name: value for name, value in given.items() if name in known and name not in self.own}
        if _GENERATION_DICT in given or nested:
            nested |= dict(given.get(_GENERATION_DICT) or {})
            nested |= {name: given[name] for name in ("max_new_tokens",) if name in given}
        rest = {
            name: value for name, value in given.items() if name not in nested and name != _GENERATION_DICT
        }
        return rest | ({_GENERATION_DICT: nested} if nested else {})

    def check(self, names: Iterable[str], task: str) -> None:
        """Raise UsageError for the first of `names` that the pipeline does not take."""
        if not (names := list(names)):
            return
        known = {*self.own, *self.passed_on}
        if _GENERATION_DICT in self.own:
            known |= set(generation_parameters())
        for name in names:
            if name not in known and not self.is_open:
                guess = did_you_mean(name, known)
                taken = f"It takes: {', '.join(self.own)}" if self.own else "It takes no parameters"
                if self.passed_on:
                    taken += ", and what generation takes" if "temperature" in self.passed_on else ""
                raise UsageError(
                    f"-p {name}: {task} has no such parameter" + (f"; {guess}" if guess else "."),
                    hint=f"{taken}.",
                )


def parameters_of(task: Task) -> Parameters:
    """Return what a call of the task's pipeline takes."""
    module, _, class_name = task.impl.rpartition(".")
    function, owner = _find_method(module, class_name, "_sanitize_parameters")
    if function is None:
        return Parameters((), is_open=True)
    own = [
        argument.arg
        for argument in (*function.args.args, *function.args.kwonlyargs)
        if argument.arg != "self"
    ]
    catch_all = function.args.kwarg.arg if function.args.kwarg else None
    passed_to = ""
    if catch_all:
        own += _looked_up(function, catch_all)
        if _is_passed_to_super(function, catch_all):
            inherited = _inherited_parameters(module, owner)
            own += inherited.own
            passed_to = inherited.passed_to
        else:
            passed_to = _CATCH_ALL_KINDS.get(catch_all, "")
    reserved = {field.name for field in task.fields if field.parameter}
    return Parameters(tuple(sorted({*own} - reserved - {"task"})), passed_to)


def _inherited_parameters(module: str, owner: ast.ClassDef | None) -> Parameters:
    for base in owner.bases if owner else ():
        function, _ = _find_method(module, ast.unparse(base), "_sanitize_parameters")
        if function is not None:
            names = tuple(argument.arg for argument in function.args.args if argument.arg != "self")
            catch_all = function.args.kwarg.arg if function.args.kwarg else ""
            return Parameters((*names, *_looked_up(function, catch_all)), _CATCH_ALL_KINDS.get(catch_all, ""))
    return Parameters(())


def _find_method(
    module: str, class_name: str, method: str
) -> tuple[ast.FunctionDef | None, ast.ClassDef | None]:
    """Find a method in a class or in its bases of the same module."""
    tree = parse_module(module)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)} if tree else {}
    owner = classes.get(class_name)
    while owner is not None:
        for node in owner.body:
            if isinstance(node, ast.FunctionDef) and node.name == method:
                return node, owner
        bases = [classes[name] for base in owner.bases if (name := ast.unparse(base)) in classes]
        owner = bases[0] if bases else None
    return None, None


def _looked_up(function: ast.FunctionDef, catch_all: str) -> list[str]:
    """Return the names that are looked up in the catch-all: ``"x" in kwargs``, ``kwargs["x"]``, ``kwargs.pop("x")``."""
    return sorted({name for node in ast.walk(function) for name in _names_in(node, catch_all)})


def _names_in(node: ast.AST, catch_all: str) -> Iterator[str]:
    def is_catch_all(value: ast.expr) -> bool:
        return isinstance(value, ast.Name) and value.id == catch_all

    match node:
        case ast.Compare(left=ast.Constant(value=str(name)), ops=[ast.In()], comparators=[target]):
            if is_catch_all(target):
                yield name
        case ast.Subscript(value=target, slice=ast.Constant(value=str(name)), ctx=ast.Load()):
            if is_catch_all(target):
                yield name
        case ast.Call(
            func=ast.Attribute(value=target, attr="pop" | "get"), args=[ast.Constant(value=str(name)), *_]
        ):
            if is_catch_all(target):
                yield name


def _is_passed_to_super(function: ast.FunctionDef, catch_all: str) -> bool:
    return any(
        isinstance(node, ast.Call)
        and "super()" in ast.unparse(node.func)
        and any(keyword.arg is None and ast.unparse(keyword.value) == catch_all for keyword in node.keywords)
        for node in ast.walk(function)
    )


@functools.cache
def generation_parameters() -> tuple[str, ...]:
    """Return the parameters of ``generate``: those of GenerationConfig and its own arguments."""
    function, _ = _find_method("transformers.generation.configuration_utils", "GenerationConfig", "__init__")
    if function is None:
        return _GENERATE_ARGUMENTS
    names = {name for name in _looked_up(function, "kwargs") if not name.startswith("_")}
    return tuple(sorted({*names, *_GENERATE_ARGUMENTS}))
