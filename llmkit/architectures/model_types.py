"""The model types that the installed transformers knows, read from its source without importing it."""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from typing import Any

from llmkit.errors import UsageError, did_you_mean
from llmkit.tasks.upstream import parse_module

# Newer releases keep the table in the first of them and add to it in the second.
_MODULES = ("transformers.models.auto.auto_mappings", "transformers.models.auto.configuration_auto")


@functools.cache
def model_types() -> frozenset[str]:
    """Return the model types that have a config class: ``bert``, ``llama``, …; empty where none could be read."""
    return frozenset(
        name
        for module in _MODULES
        for node in ast.walk(parse_module(module) or ast.Module([], []))
        for name, value in _pairs(node)
        if value.endswith("Config")
    )


def _pairs(node: ast.AST) -> list[tuple[str, str]]:
    """Return ``("bert", "BertConfig")`` of a pair, a dict or keywords that say so."""
    candidates: list[tuple[Any, Any]] = []
    if isinstance(node, ast.Tuple) and len(node.elts) == 2:
        candidates = [(node.elts[0], node.elts[1])]
    elif isinstance(node, ast.Dict):
        candidates = list(zip(node.keys, node.values, strict=True))
    return [
        (key.value, value.value)
        for key, value in candidates
        if isinstance(key, ast.Constant)
        and isinstance(value, ast.Constant)
        and isinstance(key.value, str)
        and isinstance(value.value, str)
    ]


def check_model_type(values: Mapping[str, Any], name: str) -> None:
    """Check that a config says a model type that transformers knows.

    Args:
        name: what messages call the config: a path, ``--type``, a hub model.

    Raises:
        UsageError: it says none, or one that the installed transformers does not know.
    """
    model_type = values.get("model_type")
    if model_type is None or model_type == "":
        raise UsageError(
            f"{name} has no model_type, so nobody can tell which architecture it is.",
            hint="Say it: --set model_type=bert, or whichever it is.",
        )
    known = model_types()
    if isinstance(model_type, str) and (model_type in known or not known):
        return
    if isinstance(values.get("auto_map"), Mapping):
        raise UsageError(
            f"{name} needs code of its own (model_type {model_type!r}), and llmkit runs none.",
            hint="Only architectures that the installed transformers has can be counted.",
        )
    guess = did_you_mean(str(model_type), known)
    which = "" if name.endswith(f" {model_type}") else f" as {model_type!r}"
    raise UsageError(
        f"{name}: no such model type{which}" + (f"; {guess}" if guess else "."),
        hint="It may need a newer transformers.",
    )
