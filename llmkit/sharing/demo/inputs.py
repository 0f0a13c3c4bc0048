"""From a task's fields and parameters to the widgets that take them, and back to what a pipeline is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gradio

from llmkit.tasks.catalogue import Field, Kind, TaskCall

_GENERATING = (
    "any-to-any", "conversational", "image-text-to-text", "image-to-text", "summarization", "text-generation",
    "text2text-generation", "translation",
)  # fmt: skip
_FEW_TOKENS = ("conversational", "text-generation")  # the others end by themselves
_MOST_TOKENS = 4096
_SHORT = ("question", "query", "source_sentence")


@dataclass(frozen=True, slots=True)
class Input:
    """A widget and what it stands for.

    Attributes:
        name: the task's field, or the pipeline's parameter.
        read: from what the widget gives to the value; None is no value.
        show: from a value of an example to what the widget is given.
    """

    name: str
    widget: Any
    read: Callable[[Any], Any]
    show: Callable[[Any], Any] = lambda value: value


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the pipeline's call, and the widget that it will have."""

    name: str
    kind: Callable[..., Any]
    settings: Mapping[str, Any]
    read: Callable[[Any], Any] | None = None

    def made(self, *, render: bool = True) -> Input:
        """Make its widget, inside a page; without `render` it is put somewhere later."""
        widget = self.kind(label=self.name, elem_id=f"parameter-{self.name}", render=render, **self.settings)
        return Input(self.name, widget, self.read or _given)


def field_inputs(call: TaskCall) -> list[Input]:
    """Return a widget for each field of a task; a chat beside a text is left to the page of a chat."""
    fields = [field for field in call.task.fields if field.kind is not Kind.CHAT]
    return [_WIDGETS[field.kind](field) for field in fields]


def parameters_for(call: TaskCall, pipe: Any) -> list[Parameter]:
    """Return the parameters that a visitor may want to turn."""
    return list(_parameters(call, pipe))


def _label(field: Field) -> str:
    label = field.name.replace("_", " ").capitalize()
    if field.many:
        label += ", one a line"
    return label if field.required else f"{label} (may be left out)"


def _text(field: Field) -> Input:
    lines = 1 if field.name in _SHORT or not field.required else 4
    box = gradio.Textbox(label=_label(field), lines=lines, elem_id=f"field-{field.name}")
    if field.many:
        return Input(field.name, box, _lines, "\n".join)
    return Input(field.name, box, _given)


def _given(value: Any) -> Any:
    """Return a value; None for an empty text, which is as good as no value for a field that may be left out."""
    return value if value not in ("", []) else None


def _lines(value: str | None) -> list[str] | None:
    return [line.strip() for line in (value or "").splitlines() if line.strip()] or None


def _json(field: Field) -> Input:
    box = gradio.Code(label=f"{_label(field)}, JSON", language="json", elem_id=f"field-{field.name}")
    return Input(field.name, box, _given)


def _image(field: Field) -> Input:
    picture = gradio.Image(label=_label(field), type="filepath", elem_id=f"field-{field.name}")
    return Input(field.name, picture, _given)


def _audio(field: Field) -> Input:
    sound = gradio.Audio(label=_label(field), type="filepath", elem_id=f"field-{field.name}")
    return Input(field.name, sound, _given)


def _video(field: Field) -> Input:
    return Input(field.name, gradio.Video(label=_label(field), elem_id=f"field-{field.name}"), _given)


def _table(field: Field) -> Input:
    cells = gradio.Dataframe(
        value=[["cats", "3"], ["dogs", "2"]],
        headers=["animal", "number"],
        label=_label(field),
        interactive=True,
        elem_id=f"field-{field.name}",
    )
    return Input(field.name, cells, _columns)


def _columns(frame: Any) -> dict[str, list[str]] | None:
    """Return a pandas frame as a pipeline wants a table: the cells of each column, as text."""
    if frame is None or not len(frame.columns):
        return None
    return {str(name): [str(cell) for cell in frame[name].tolist()] for name in frame.columns}


_WIDGETS: dict[Kind, Callable[[Field], Input]] = {
    Kind.TEXT: _text,
    Kind.JSON: _json,
    Kind.IMAGE: _image,
    Kind.AUDIO: _audio,
    Kind.VIDEO: _video,
    Kind.TABLE: _table,
}


def _parameters(call: TaskCall, pipe: Any) -> Iterator[Parameter]:
    name = call.task.name
    if name == "token-classification":
        choices = ["none", "simple", "first", "average", "max"]
        yield Parameter("aggregation_strategy", gradio.Dropdown, {"choices": choices, "value": "simple"})
    elif name == "fill-mask":
        settings = {"minimum": 1, "maximum": 20, "value": 5, "step": 1}
        yield Parameter("top_k", gradio.Slider, settings, int)
    elif name == "zero-shot-classification":
        yield Parameter("multi_label", gradio.Checkbox, {"value": False})
    if call.name == "translation":  # without its two languages
        for language in ("src_lang", "tgt_lang"):
            yield Parameter(language, gradio.Textbox, {})
    if name in _GENERATING:
        most = 64 if name in _FEW_TOKENS else None
        limits = {"value": most, "precision": 0, "minimum": 1, "maximum": _MOST_TOKENS}
        yield Parameter("max_new_tokens", gradio.Number, limits)
        own = getattr(pipe, "generation_config", None) or pipe.model.generation_config
        yield Parameter("do_sample", gradio.Checkbox, {"value": bool(own.do_sample)})
