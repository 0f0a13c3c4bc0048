"""The page of a chat: what was said is sent along each time, and the answer shows as it comes."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gradio

from llmkit.inference.streaming import can_stream, text_streamer
from llmkit.sharing.demo.demo import Demo
from llmkit.sharing.demo.examples import examples_of
from llmkit.sharing.demo.inputs import parameters_for
from llmkit.sharing.demo.telling import told

_END = None


def chat_of(demo: Demo) -> gradio.ChatInterface:
    """Put a chat on the page that is being made."""
    parameters = [each.made(render=False) for each in parameters_for(demo.call, demo.pipe)]
    names = [each.name for each in parameters]

    def reply(message: str, history: Sequence[Mapping[str, Any]], *given: Any) -> Iterator[str]:
        chosen = {name: value for name, value in zip(names, given, strict=True) if value is not None}
        with told():
            yield from answers(demo, [*map(_plain, history), {"role": "user", "content": message}], chosen)

    examples = [row["messages"] for row in examples_of(demo.call.task, demo.metadata)]
    return gradio.ChatInterface(
        reply,
        chatbot=gradio.Chatbot(label="Chat", elem_id="chat", allow_tags=False, buttons=["copy"]),
        additional_inputs=[each.widget for each in parameters] or None,
        additional_inputs_accordion=gradio.Accordion("Parameters", open=False, render=False),
        examples=[[text] for text in examples],
        cache_examples=False,
        run_examples_on_click=False,
        flagging_mode="never",
        analytics_enabled=False,
        concurrency_limit=1,
        api_name="answer",
    )


def answers(
    demo: Demo, messages: Sequence[Mapping[str, Any]], parameters: Mapping[str, Any]
) -> Iterator[str]:
    """Give the answer to a chat, longer each time, and whole at the end.

    Raises:
        NoAnswerError: the model fails on it.
    """
    pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    asked = dict(parameters)
    if can_stream(asked, demo.pipe):
        asked["streamer"] = text_streamer(demo.pipe.tokenizer, pieces.put, skip_prompt=True)
    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(demo.answer, {"messages": list(messages)}, asked)
        working.add_done_callback(lambda _: pieces.put(_END))
        said = ""
        while (piece := pieces.get()) is not _END:
            said += piece
            yield said
        yield str(working.result().messages[-1]["content"])


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message of the page as a model takes it: role, and content as one text."""
    content = message["content"]
    if isinstance(content, list):
        content = "\n".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return {"role": message["role"], "content": str(content)}
