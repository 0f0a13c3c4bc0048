"""A page without a browser: its widgets by name, and its answer as the page would show it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmkit.models.loading import LoadOptions
from llmkit.sharing.demo.demo import Demo
from llmkit.sharing.demo.page import page_of
from llmkit.tasks.build import build_pipeline
from llmkit.tasks.catalogue import find_task
from llmkit.tasks.resolve import resolve_for


def demo_of(task: str, model: Path | str, **more: Any) -> Demo:
    """A loaded model that can be tried."""
    call = find_task(task)
    pipe = build_pipeline(call, resolve_for(call, str(model), None), LoadOptions(device="cpu"))
    return Demo("a model", call, pipe, **more)


class Page:
    """A page as it was made for a demo."""

    def __init__(self, demo: Demo) -> None:
        self.demo = demo
        self.blocks = page_of(demo)
        self.answering = next(each for each in self.blocks.fns.values() if each.api_name == "answer")

    @property
    def texts(self) -> list[str]:
        """What its Markdown says."""
        blocks = self.blocks.blocks.values()
        return [block.value for block in blocks if type(block).__name__ == "Markdown"]

    def ask(self, **given: Any) -> dict[str, Any]:
        """Press Run with some widgets filled; what each widget of the answer is given, by its id."""
        known = {_name(widget): widget for widget in self.answering.inputs}
        assert set(given) <= set(known), known
        values = [given.get(name, getattr(widget, "value", None)) for name, widget in known.items()]
        found = self.answering.fn(*values)
        outputs = self.answering.outputs
        shown = found if len(outputs) > 1 else (found,)
        for widget, value in zip(outputs, shown, strict=True):
            widget.postprocess(value)  # the widget takes what it is given
        return {str(widget.elem_id): value for widget, value in zip(outputs, shown, strict=True)}


def _name(widget: Any) -> str:
    return str(widget.elem_id).removeprefix("field-").removeprefix("parameter-")


Tiny = Callable[[str], Path]
