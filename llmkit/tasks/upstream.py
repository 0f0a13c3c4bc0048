"""What the installed transformers offers, read from its source without importing it.

``import transformers.pipelines`` takes seconds and pulls in torch. The table of tasks in it is a plain
literal, so parsing the file gives the same answer in a few milliseconds, and a task that a newer
transformers adds shows up by itself.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class UpstreamTask:
    """A task of the installed transformers.

    Attributes:
        impl: dotted path of the pipeline class.
        heads: names of the auto classes that load a model for it.
        modality: transformers' own ``type``: text, image, audio, video or multimodal.
        default_model: hub id and revision used when no model is named.
    """

    name: str
    impl: str
    heads: tuple[str, ...]
    modality: str
    default_model: tuple[str, str | None] | None


def package_file(dotted: str) -> Path | None:
    """Return the source file of a module, found without importing it or its parents; None if there is none."""
    top, *rest = dotted.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        return None
    base = Path(spec.submodule_search_locations[0], *rest)
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@functools.cache
def parse_module(dotted: str) -> ast.Module | None:
    """Return the syntax tree of a module's source, or None when the module is not installed."""
    path = package_file(dotted)
    return ast.parse(path.read_text(encoding="utf-8")) if path else None


@functools.cache
def upstream_tasks() -> dict[str, UpstreamTask]:
    """Return the tasks of the installed transformers by name."""
    tree = parse_module("transformers.pipelines")
    if tree is None:
        return {}
    table = _assigned_dict(tree, "SUPPORTED_TASKS")
    origins = _import_origins(tree)
    return {name: _read_task(name, row, origins) for name, row in table.items() if isinstance(row, ast.Dict)}


@functools.cache
def upstream_aliases() -> dict[str, str]:
    """Return transformers' own aliases: alias -> task."""
    tree = parse_module("transformers.pipelines")
    if tree is None:
        return {}
    return {alias: ast.literal_eval(task) for alias, task in _assigned_dict(tree, "TASK_ALIASES").items()}


def _assigned_dict(tree: ast.Module, name: str) -> dict[str, ast.expr]:
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=ast.Dict() as table) if target == name:
                return _items(table)
    return {}


def _items(node: ast.Dict) -> dict[str, ast.expr]:
    return {
        str(key.value): value
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant)
    }


def _import_origins(tree: ast.Module) -> dict[str, str]:
    """Map each class imported at the top of transformers.pipelines to its dotted path."""
    return {
        alias.name: f"transformers.pipelines.{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module
        for alias in node.names
    }


def _read_task(name: str, row: ast.Dict, origins: dict[str, str]) -> UpstreamTask:
    fields = _items(row)
    impl = fields["impl"]
    # Releases before 5.17 name the class itself, later ones its dotted path.
    dotted = ast.literal_eval(impl) if isinstance(impl, ast.Constant) else origins.get(ast.unparse(impl), "")
    heads = tuple(
        node.id
        for node in ast.walk(fields.get("pt", ast.Tuple(elts=[], ctx=ast.Load())))
        if isinstance(node, ast.Name) and node.id.startswith("AutoModel")
    )
    modality = ast.literal_eval(fields["type"]) if "type" in fields else "text"
    return UpstreamTask(name, dotted, heads, modality, _read_default(fields.get("default")))


def _read_default(node: ast.expr | None) -> tuple[str, str | None] | None:
    if node is None:
        return None
    model = ast.literal_eval(node).get("model")
    # `any-to-any` nests its default one level deeper, which is why its default fails upstream.
    if isinstance(model, dict):
        model = model.get("pt")
    return (model[0], model[1]) if model else None
