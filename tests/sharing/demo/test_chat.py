"""The page of a chat: the same answer as the pipeline's, longer each time, with what was said before."""

from __future__ import annotations

from itertools import pairwise

import pytest

pytest.importorskip("gradio", reason="the extra demo is not installed")

import gradio

from llmkit.sharing.demo.chat import answers, chat_of
from tests.sharing.demo.asking import demo_of

GREEDY = {"do_sample": False, "max_new_tokens": 8}
CHAT = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hello, how are you?"},
    {"role": "user", "content": "Tell me of the house"},
]


@pytest.fixture(scope="module")
def demo(tiny):
    return demo_of("conversational", tiny("conversational"))


def test_the_answer_comes_in_pieces_and_ends_as_the_pipelines(demo):
    said = list(answers(demo, CHAT, GREEDY))
    whole = demo.pipe([dict(message) for message in CHAT], **GREEDY).messages[-1]["content"]
    assert said[-1] == whole
    assert all(later.startswith(earlier) for earlier, later in pairwise(said[:-1]))


def test_the_page_sends_what_was_said_before(demo):
    history = [
        {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
        {"role": "assistant", "content": "Hello, how are you?"},
    ]
    with gradio.Blocks(analytics_enabled=False):
        chat = chat_of(demo)
    names = [widget.elem_id.removeprefix("parameter-") for widget in chat.additional_inputs]

    said = list(chat.fn("Tell me of the house", history, *(GREEDY[name] for name in names)))

    assert said[-1] == list(answers(demo, CHAT, GREEDY))[-1]


def test_beams_come_at_once(demo):
    beams = {"num_beams": 2, **GREEDY}
    assert len(list(answers(demo, CHAT, beams))) == 1
