"""What a server offers, as OpenAPI 3.1 says it, and the same as a page that needs nothing from elsewhere."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

from llmkit._version import __version__
from llmkit.data.shapes import json_schema
from llmkit.serving.request_media import MEDIA
from llmkit.serving.served_answers import KIND_OF_ANSWER, answer_shape
from llmkit.tasks.catalogue import Field, Kind, Task

if TYPE_CHECKING:
    from llmkit.serving.app import Served

_TEXT = {"type": "string", "minLength": 1}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code"],
            "properties": {
                "message": {"type": "string"},
                "hint": {"type": ["string", "null"]},
                "type": {"type": "string"},
                "code": {"type": "integer"},
            },
        }
    },
}
_REFUSALS = {
    "400": "The request is none that can be answered.",
    "401": "The token is missing or wrong.",
    "403": "The server does not answer to the name that it is asked by.",
    "408": "The request did not come whole in its time.",
    "413": "The request is too long.",
    "415": "The request is no JSON.",
    "422": "The model fails on the input.",
    "429": "Too many requests wait.",
    "504": "No answer within the time.",
}
_MESSAGE = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {
        "role": {"enum": ["system", "user", "assistant"]},
        "content": {"type": "string"},
    },
}
_EMBEDDINGS = {
    "type": "object",
    "required": ["input"],
    "properties": {
        "model": {"type": "string"},
        "input": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]},
        "encoding_format": {"enum": ["float", "base64"]},
        "dimensions": {"type": "integer", "minimum": 1},
    },
}
_CHAT = {
    "type": "object",
    "required": ["messages"],
    "properties": {
        "model": {"type": "string"},
        "messages": {"type": "array", "items": _MESSAGE, "minItems": 1},
        "max_tokens": {"type": "integer", "minimum": 1},
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "seed": {"type": "integer", "minimum": 0},
        "stop": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "maxItems": 4}]},
        "stream": {"type": "boolean"},
    },
}
_MEDIUM: dict[str, Any] = {"type": "string", "contentEncoding": "base64", "minLength": 1}
_TYPES: dict[Kind, dict[str, Any]] = {
    Kind.TEXT: _TEXT,
    Kind.TABLE: {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
    Kind.CHAT: {"type": "array", "items": _MESSAGE, "minItems": 1},
    Kind.JSON: {},
    Kind.IMAGE: _MEDIUM,
    Kind.AUDIO: _MEDIUM,
    Kind.VIDEO: _MEDIUM,
}
_PARTS = "#/components/schemas/{model}"
_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


def description(served: Served) -> dict[str, Any]:
    """Return the OpenAPI document of what is served."""
    paths: dict[str, Any] = {
        "/health": {"get": _told("Whether the server is well.", "application/json")},
        "/metrics": {"get": _told("Figures for Prometheus.", "text/plain")},
        "/v1/models": {"get": _told("The models by name, in OpenAI's shape.", "application/json")},
    }
    parts: dict[str, Any] = {}
    for task in served.tasks:
        answer = json_schema(answer_shape(task.task), ref_template=_PARTS)
        parts |= answer.pop("$defs", {})
        for path in task.paths:
            asked = _asked(f"{task.task.summary}.", _task_request(task.task), answer)
            if task.takes_bytes:
                asked["requestBody"]["content"] |= _BYTES
            if (kind := KIND_OF_ANSWER.get(task.task.name)) is not None:
                asked["responses"]["200"]["content"] |= {kind: {}}
            paths[path] = {"post": asked}
    if served.encoder is not None:
        paths["/v1/embeddings"] = {"post": _asked("Vectors of texts, in OpenAI's shape.", _EMBEDDINGS)}
    if served.chat is not None:
        paths["/v1/chat/completions"] = {"post": _asked("Answer a chat, in OpenAI's shape.", _CHAT)}
    about = {"title": "llmkit serve", "version": __version__}
    return {"openapi": "3.1.0", "info": about, "paths": paths, "components": {"schemas": parts}}


def _told(summary: str, kind: str) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": {"description": "It is told.", "content": {kind: {}}}}}


def _asked(summary: str, request: dict[str, Any], answer: dict[str, Any] | None = None) -> dict[str, Any]:
    refusals = {
        status: {"description": text, "content": {"application/json": {"schema": _ERROR}}}
        for status, text in _REFUSALS.items()
    }
    content: dict[str, Any] = {"application/json": {} if answer is None else {"schema": answer}} | (
        {"text/event-stream": {}} if request is _CHAT else {}
    )
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        "responses": {"200": {"description": "The answer.", "content": content}, **refusals},
    }


def _task_request(task: Task) -> dict[str, Any]:
    """Return the schema of a task's requests: one input or a list of them, and parameters."""
    fields = [field for field in task.fields if not field.parameter]
    beside = [field for field in task.fields if field.parameter]
    whole = {
        "type": "object",
        "required": [field.name for field in fields if field.required],
        "properties": {field.name: _type_of(field) for field in fields},
        "additionalProperties": False,
    }
    required = [field for field in fields if field.required]
    is_one = len(required) == 1 and required[0].kind in (Kind.TEXT, *MEDIA)
    alone = [_type_of(required[0])] if is_one else []
    one = {"anyOf": [*alone, whole]}
    parameters = {
        "type": "object",
        "required": [field.name for field in beside if field.required],
        "properties": {field.name: _type_of(field) for field in beside},
    }
    return {
        "type": "object",
        "required": ["inputs", *(["parameters"] if parameters["required"] else [])],
        "properties": {
            "inputs": {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]},
            "parameters": parameters,
        },
    }


def _type_of(field: Field) -> dict[str, Any]:
    kind = _TYPES.get(field.kind, {})
    return {"type": "array", "items": kind, "minItems": 1} if field.many else kind


def page(document: dict[str, Any]) -> str:
    """Return the document as a page."""
    parts = [
        _section(path, method, each)
        for path, ways in document["paths"].items()
        for method, each in ways.items()
    ]
    title = f"{document['info']['title']} {document['info']['version']}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        "<style>body{font:16px/1.5 system-ui;max-width:52rem;margin:2rem auto;padding:0 1rem}"
        "pre{background:#8881;padding:.7rem;overflow:auto}code{font-size:.9em}</style>"
        f'<h1>{html.escape(title)}</h1><p>The same for programs: <a href="/openapi.json">openapi.json</a></p>'
        f"{''.join(parts)}</html>"
    )


def _section(path: str, method: str, operation: dict[str, Any]) -> str:
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    shown = f"<pre>{html.escape(json.dumps(schema, indent=2))}</pre>" if schema else ""
    statuses = "".join(
        f"<li>{html.escape(status)}: {html.escape(each['description'])}</li>"
        for status, each in operation["responses"].items()
    )
    return (
        f"<h2><code>{method.upper()} {html.escape(path)}</code></h2><p>{html.escape(operation['summary'])}</p>"
        f"{shown}<ul>{statuses}</ul>"
    )
