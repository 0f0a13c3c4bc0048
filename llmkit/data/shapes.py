"""What JSON looks like, declared as types and given as JSON Schema (draft 2020-12), by pydantic.

A shape is a `TypedDict`, a dataclass that `asdict` makes JSON of, or anything made of these: unions, lists, mappings.
What it does not name is not allowed, and all of it is there but for what a `TypedDict` says is `NotRequired`.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Shape = TypeVar("Shape", bound=type)
_ALSO: dict[type, Mapping[str, Any]] = {}
_OTHERS: dict[type, Any] = {}
_ATTRIBUTES = "\n\nAttributes:\n"
_ATTRIBUTE = re.compile(r"^ {4}(\w+(?:, \w+)*): (.*(?:\n {5,}.*)*)", re.MULTILINE)


def also(**shapes: Any) -> Callable[[Shape], Shape]:
    """Declare what the JSON of a dataclass has beside its fields: ``@also(fits=bool | None)``."""

    def declared(shape: Shape) -> Shape:
        _ALSO[shape] = shapes
        return shape

    return declared


def others(values: Any) -> Callable[[Shape], Shape]:
    """Declare what keys hold that a TypedDict does not name: ``@others(float | None)``; without it there are none."""

    def declared(shape: Shape) -> Shape:
        _OTHERS[shape] = values
        return shape

    return declared


def find_shape(place: str) -> Any:
    """Return the shape at a place such as ``llmkit.cli.tasks:TASK``."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def json_schema(shape: Any, *, ref_template: str = "#/$defs/{model}") -> dict[str, Any]:
    """Return the JSON Schema of a shape; the parts that have names of their own are under ``$defs``.

    Args:
        ref_template: where those are, for who puts them elsewhere.
    """
    from pydantic import TypeAdapter
    from pydantic.json_schema import GenerateJsonSchema

    class Strict(GenerateJsonSchema):
        def field_title_should_be_set(self, schema: Any) -> bool:
            return False

        def field_is_required(self, field: Any, total: bool) -> bool:
            return field["type"] == "dataclass-field" or super().field_is_required(field, total)

        def typed_dict_schema(self, schema: Any) -> Any:
            return _declared(schema, super().typed_dict_schema(schema), ref_template)

        def dataclass_schema(self, schema: Any) -> Any:
            return _declared(schema, super().dataclass_schema(schema), ref_template)

    found = TypeAdapter(shape).json_schema(
        mode="serialization", ref_template=ref_template, schema_generator=Strict
    )
    parts: dict[str, Any] = {}
    for each in list(_parts_of(found)):
        parts |= each.pop("$defs", {})
        for value in each.get("properties", {}).values():
            value.pop("default", None)
    return found | ({"$defs": parts} if parts else {})


def _declared(core: Mapping[str, Any], found: dict[str, Any], ref_template: str) -> dict[str, Any]:
    """Return the schema of an object with what was declared of its class, and what its docstring says."""
    cls = core["cls"]
    about, of_fields = _told(cls)
    found |= {"description": about} if about else {}
    for name in found.get("properties", {}).keys() & of_fields:
        found["properties"][name]["description"] = of_fields[name]
    values = _OTHERS.get(cls, False)
    found["additionalProperties"] = values and json_schema(values, ref_template=ref_template)
    for name, shape in _ALSO.get(cls, {}).items():
        found["properties"][name] = json_schema(shape, ref_template=ref_template)
        found["required"].append(name)
    return found


def _told(cls: type) -> tuple[str, dict[str, str]]:
    """Return what a class's docstring says of it, and of each of its fields."""
    about, _, listed = inspect.cleandoc(cls.__doc__ or "").partition(_ATTRIBUTES)
    of_fields = {
        name: " ".join(found[2].split()).replace("``", "`")
        for found in _ATTRIBUTE.finditer(listed)
        for name in found[1].split(", ")
    }
    # A dataclass without a docstring is given its signature for one.
    is_signature = about.startswith(f"{cls.__name__}(")
    return "" if is_signature else " ".join(about.split()).replace("``", "`"), of_fields


def _parts_of(schema: Any) -> Iterator[dict[str, Any]]:
    """Go through a schema and all schemas in it."""
    if isinstance(schema, list):
        for each in schema:
            yield from _parts_of(each)
    elif isinstance(schema, dict):
        yield schema
        for key, each in schema.items():
            if key in ("properties", "$defs"):
                for part in each.values():
                    yield from _parts_of(part)
            elif key not in ("enum", "const", "default", "required"):
                yield from _parts_of(each)
