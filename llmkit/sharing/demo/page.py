"""The page itself: fields and parameters on one side, the answer on the other, the model's card below."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import gradio

from llmkit.sharing.demo.answers import answer_of
from llmkit.sharing.demo.chat import chat_of
from llmkit.sharing.demo.demo import Demo, as_json
from llmkit.sharing.demo.examples import examples_of
from llmkit.sharing.demo.inputs import Input, field_inputs, parameters_for
from llmkit.sharing.demo.telling import told
from llmkit.tasks.catalogue import Kind, Shape

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~>-])")
_ONE_AT_A_TIME = {"concurrency_limit": 1, "concurrency_id": "model"}


def page_of(demo: Demo) -> gradio.Blocks:
    """Return the page of a model: nothing is sent anywhere from it but to the process that serves it."""
    task = demo.call.task
    with gradio.Blocks(title=demo.title, analytics_enabled=False) as page:
        gradio.Markdown(f"# {_literal(demo.title)}\n\n{_literal(task.summary)} ({_literal(demo.call.name)}).")
        if _is_chat(demo):
            chat_of(demo)
        else:
            _form(demo)
        if demo.card.strip():
            with gradio.Accordion("Model card", open=False, elem_id="card"):
                gradio.Markdown(demo.card)
    return page


def _is_chat(demo: Demo) -> bool:
    """Tell whether a task takes nothing but messages."""
    task = demo.call.task
    return task.shape is Shape.CHAT and all(field.kind is Kind.CHAT for field in task.fields)


def _form(demo: Demo) -> None:
    answer = answer_of(demo.call.task.name)
    turned = parameters_for(demo.call, demo.pipe)
    with gradio.Row():
        with gradio.Column():
            fields = field_inputs(demo.call)
            button = gradio.Button("Run", variant="primary", elem_id="run")
            parameters: list[Input] = []
            if turned:
                with gradio.Accordion("Parameters", open=False, elem_id="parameters"):
                    parameters = [each.made() for each in turned]
        with gradio.Column():
            shown = answer.widgets()
            if answer.is_text:
                with gradio.Accordion("As llmkit pipeline prints it", open=not shown, elem_id="as-json"):
                    line = gradio.Textbox(
                        show_label=False, lines=3, max_lines=12, interactive=False, elem_id="json",
                        buttons=["copy"],
                    )  # fmt: skip
                shown = [*shown, line]
    gradio.on(
        [button.click, *(each.widget.submit for each in fields if isinstance(each.widget, gradio.Textbox))],
        _answering(demo, fields, parameters),
        inputs=[each.widget for each in (*fields, *parameters)],
        outputs=shown,
        api_name="answer",
        **_ONE_AT_A_TIME,
    )
    _examples(demo, fields)


def _answering(demo: Demo, fields: Sequence[Input], parameters: Sequence[Input]) -> Callable[..., Any]:
    """Return what is called with the values of all widgets, and returns those of the widgets that show the answer."""
    answer = answer_of(demo.call.task.name)

    def run(*given: Any) -> Any:
        asked = [each.read(value) for each, value in zip((*fields, *parameters), given, strict=True)]
        values = {each.name: value for each, value in zip(fields, asked, strict=False) if value is not None}
        chosen = {
            each.name: value
            for each, value in zip(parameters, asked[len(fields) :], strict=True)
            if value is not None
        }
        with told():
            result = demo.answer(values, {**answer.parameters, **chosen})
            shown = answer.show(values, result)
            line = [as_json(result)] if answer.is_text else []
        every = [*shown, *line]
        return every[0] if len(every) == 1 else tuple(every)

    return run


def _examples(demo: Demo, fields: Sequence[Input]) -> None:
    rows = examples_of(demo.call.task, demo.metadata)
    if not rows:
        return
    shown = [each for each in fields if all(each.name in row for row in rows)]
    gradio.Examples(
        [[each.show(row[each.name]) for each in shown] for row in rows],
        inputs=[each.widget for each in shown],
        cache_examples=False,
    )


def _literal(text: str) -> str:
    """Return a text that Markdown and HTML show as it is."""
    return _MARKDOWN.sub(r"\\\1", text).replace("&", "&amp;").replace("<", "&lt;")
