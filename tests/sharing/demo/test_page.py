"""The page of every task, asked as a visitor asks, held against the pipeline itself on the same model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the extra demo is not installed")

import gradio
import pandas

from llmkit.data.media import load_audio
from llmkit.sharing.demo.answers import answer_of
from llmkit.sharing.demo.demo import as_json
from llmkit.tasks.catalogue import tasks
from tests.fixtures import tiny as builders
from tests.fixtures.media import TABLE, word_boxes, write_media
from tests.fixtures.tiny.text import REQUEST
from tests.sharing.demo.asking import Page, demo_of

TEXT = "Angela Merkel met the president in Paris"
PARAGRAPH = "The Eiffel tower stands in Paris. It was built in 1889 by the company of Gustave Eiffel."
SHORT = {"do_sample": False, "max_new_tokens": 6}
LABELS = ["politics", "sports"]

# task -> what is typed into the page, and the call of the pipeline that must give the same.
ASKED: dict[str, tuple[dict[str, Any], tuple[Any, ...], dict[str, Any]]] = {
    "any-to-any": ({"text": TEXT, "image": "{cat}", **SHORT}, (), {}),
    "audio-classification": ({"audio": "{tone}"}, ("{tone}",), {}),
    "automatic-speech-recognition": ({"audio": "{tone}"}, ("{tone}",), {}),
    "decision": (
        {name: json.dumps(REQUEST[name]) for name in ("state", "questions")},
        (REQUEST,),
        {},
    ),
    "depth-estimation": ({"image": "{cat}"}, ("{cat}",), {}),
    "document-question-answering": (
        {"image": "{document}", "question": "What is the total?", "word_boxes": json.dumps(word_boxes())},
        (),
        {"image": "{document}", "question": "What is the total?", "word_boxes": word_boxes()},
    ),
    "feature-extraction": ({"text": TEXT}, (TEXT,), {}),
    "fill-mask": ({"text": "Paris is the ___ of France."}, ("Paris is the [MASK] of France.",), {"top_k": 5}),
    "image-classification": ({"image": "{cat}"}, ("{cat}",), {}),
    "image-feature-extraction": ({"image": "{cat}"}, ("{cat}",), {}),
    "image-segmentation": ({"image": "{cat}"}, ("{cat}",), {}),
    "image-text-to-text": ({"text": TEXT, "image": "{cat}", **SHORT}, (), {}),
    "image-to-image": ({"image": "{cat}"}, ("{cat}",), {}),
    "image-to-text": ({"image": "{cat}", **SHORT}, ("{cat}",), SHORT),
    "keypoint-matching": ({"first": "{cat}", "second": "{dog}"}, (["{cat}", "{dog}"],), {}),
    "mask-generation": ({"image": "{cat}"}, (), {}),
    "object-detection": ({"image": "{cat}"}, ("{cat}",), {}),
    "question-answering": (
        {"question": "Who built it?", "context": PARAGRAPH},
        (),
        {"question": "Who built it?", "context": PARAGRAPH},
    ),
    "sentence-similarity": (
        {"source_sentence": TEXT, "sentences": "Merkel was in Paris\n\nThe cat is asleep"},
        (TEXT, ["Merkel was in Paris", "The cat is asleep"]),
        {},
    ),
    "summarization": ({"text": TEXT, **SHORT}, (TEXT,), SHORT),
    "table-question-answering": (
        {"table": pandas.DataFrame(TABLE), "query": "How many people?"},
        (),
        {"table": TABLE, "query": "How many people?"},
    ),
    "text-classification": ({"text": TEXT}, ([TEXT],), {"top_k": None}),
    "text-generation": ({"text": TEXT, **SHORT}, (TEXT,), SHORT),
    "text-to-audio": ({"text": TEXT}, (TEXT,), {}),
    "text2text-generation": ({"text": TEXT, **SHORT}, (TEXT,), SHORT),
    "token-classification": ({"text": TEXT}, (TEXT,), {"aggregation_strategy": "simple"}),
    "translation": ({"text": TEXT, "src_lang": "en", "tgt_lang": "fr", **SHORT}, (), {}),
    "video-classification": ({"video": "{clip}"}, ("{clip}",), {}),
    "visual-question-answering": (
        {"image": "{cat}", "question": "How many cats?"},
        (),
        {"image": "{cat}", "question": "How many cats?"},
    ),
    "zero-shot-audio-classification": (
        {"audio": "{tone}", "candidate_labels": "a dog\na bell"},
        ("{tone}",),
        {"candidate_labels": ["a dog", "a bell"]},
    ),
    "zero-shot-classification": (
        {"text": TEXT, "candidate_labels": "\n".join(LABELS)},
        (TEXT,),
        {"candidate_labels": LABELS},
    ),
    "zero-shot-image-classification": (
        {"image": "{cat}", "candidate_labels": "a cat\na dog"},
        ("{cat}",),
        {"candidate_labels": ["a cat", "a dog"]},
    ),
    "zero-shot-object-detection": (
        {"image": "{cat}", "candidate_labels": "a cat\na dog"},
        ("{cat}",),
        {"candidate_labels": ["a cat", "a dog"]},
    ),
}
# Given a list of one input, or any text, these give a list with one result.
LISTED = ("summarization", "text-classification", "text2text-generation")
# One for each kind of widget; the others are slow by their number.
QUICK = (
    "audio-classification", "feature-extraction", "fill-mask", "object-detection", "question-answering",
    "sentence-similarity", "table-question-answering", "text-classification", "text-generation",
    "token-classification", "translation", "zero-shot-classification",
)  # fmt: skip
# Pages of their own.
ELSEWHERE = ("conversational",)


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_media(tmp_path_factory.mktemp("media"))


def filled(value: Any, media: dict[str, Path]) -> Any:
    if isinstance(value, str):
        return str(media.get(value[1:-1], value)) if value.startswith("{") else value
    if isinstance(value, dict):
        return {name: filled(each, media) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(filled(each, media) for each in value)
    return value


def test_every_task_is_asked():
    assert {*ASKED, *ELSEWHERE} >= {name for name in tasks() if name in builders.TASKS}


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(task, marks=[] if task in QUICK else [pytest.mark.slow])
        for task in sorted(set(ASKED) & set(tasks()))
    ],
)
def test_the_page_answers_as_the_pipeline_does(task, tiny, media):
    if task == "video-classification" and builders.cannot_open_videos():
        pytest.skip(builders.missing(task))
    typed, args, kwargs = (filled(each, media) for each in ASKED[task])
    page = Page(demo_of(task, tiny(task)))

    shown = page.ask(**typed)

    if not (args or kwargs) or not answer_of(task).is_text:
        return
    if "audio" in typed:
        args = (load_audio(typed["audio"], page.demo.pipe.feature_extractor.sampling_rate),)
    expected = json.loads(as_json(page.demo.pipe(*args, **kwargs)))
    assert json.loads(shown["json"]) == (expected[0] if task in LISTED else expected)


def test_what_is_wrong_with_an_input_is_said_and_is_no_html(tiny):
    page = Page(demo_of("text-classification", tiny("text-classification")))
    with pytest.raises(gradio.Error, match="no value for 'text'"):
        page.ask(text="")
    table = Page(demo_of("question-answering", tiny("question-answering")))
    with pytest.raises(gradio.Error, match="context"):
        table.ask(question="<b>?</b>", context=" ")


def test_a_long_text_is_worked_through(tiny):
    page = Page(demo_of("text-classification", tiny("text-classification")))
    shown = page.ask(text="a fine day " * 400)
    assert sum(shown["answer"].values()) == pytest.approx(1, abs=1e-4)


def test_the_card_and_its_examples_are_on_the_page(tiny):
    widget = [
        {"text": "An example of the card", "example_title": "x"},
        {"src": "http://example.org/a.png"},
        "?",
    ]
    demo = demo_of(
        "text-classification", tiny("text-classification"), metadata={"widget": widget}, card="# Made *here*"
    )
    page = Page(demo)
    assert "# Made *here*" in page.texts
    examples = [block for block in page.blocks.blocks.values() if type(block).__name__ == "Dataset"]
    assert [each.samples for each in examples] == [[["An example of the card"]]]


def test_a_title_is_shown_as_it_is(tiny):
    from dataclasses import replace

    demo = replace(demo_of("fill-mask", tiny("fill-mask")), title="<img src=x> *a* [b](c)")
    heading = Page(demo).texts[0].splitlines()[0]
    assert heading == r"# &lt;img src=x\> \*a\* \[b\]\(c\)"


def test_a_task_without_a_row_shows_its_json(tiny, media):
    page = Page(demo_of("keypoint-matching", tiny("keypoint-matching")))
    assert [widget.elem_id for widget in page.answering.outputs] == ["json"]


def test_nothing_is_told_to_gradio(tiny):
    page = Page(demo_of("text-classification", tiny("text-classification")))
    assert page.blocks.analytics_enabled is False
