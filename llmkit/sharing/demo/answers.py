"""From a result to what a page shows of it: a table with a row for each task that has a picture of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio

from llmkit.data.media import load_image

Values = Mapping[str, Any]

_MOST_LABELS = 10
_FIRST_NUMBERS = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """How the results of a task are shown.

    Attributes:
        widgets: makes the widgets, inside a page.
        show: from the input's fields and the result to what each widget is given.
        is_text: the result fits into a line of JSON, which is shown too.
        parameters: what the page asks the pipeline for beside what the visitor chose.
    """

    widgets: Callable[[], list[Any]]
    show: Callable[[Values, Any], list[Any]]
    is_text: bool = True
    parameters: Mapping[str, Any] = field(default_factory=dict)


def answer_of(task: str) -> Answer:
    """Return how a task's results are shown; a task without a row shows its JSON alone."""
    return _ANSWERS.get(task, Answer(list, lambda values, result: []))


def _labels() -> list[Any]:
    return [gradio.Label(label="Answer", num_top_classes=_MOST_LABELS, elem_id="answer")]


def _scored(values: Values, result: Any) -> list[Any]:
    """Show labels or answers with their scores."""
    if isinstance(result, Mapping) and isinstance(result.get("labels"), list):
        return [dict(zip(result["labels"], map(float, result["scores"]), strict=True))]
    rows = [result] if isinstance(result, Mapping) else result
    return [{str(row.get("label", row.get("answer", ""))): float(row["score"]) for row in rows}]


def _text_box(label: str = "Answer") -> Any:
    return gradio.Textbox(label=label, lines=4, interactive=False, buttons=["copy"], elem_id="answer")


def _text_of(key: str) -> Callable[[Values, Any], list[Any]]:
    def show(values: Values, result: Any) -> list[Any]:
        rows = [result] if isinstance(result, Mapping) else result
        return ["\n\n".join(_last_words(row[key]) for row in rows)]

    return show


def _last_words(value: Any) -> str:
    """Return a text; of a chat what was said last."""
    if isinstance(value, list) and value and isinstance(value[-1], Mapping):
        value = value[-1].get("content", "")
    return value if isinstance(value, str) else str(value)


def _highlighted() -> Any:
    return gradio.HighlightedText(label="Answer", show_legend=False, elem_id="answer")


def _spans(values: Values, result: Any) -> list[Any]:
    found = [
        {"entity": row.get("entity_group") or row.get("entity"), "start": row["start"], "end": row["end"]}
        for row in result
        if row.get("start") is not None
    ]
    return [{"text": values["text"], "entities": found}]


def _answer_in_context() -> list[Any]:
    return [gradio.Textbox(label="Answer", interactive=False, elem_id="answer"), _in_context()]


def _in_context() -> Any:
    return gradio.HighlightedText(label="Where it stands", elem_id="place")


def _found_answer(values: Values, result: Any) -> list[Any]:
    best = result[0] if isinstance(result, list) else result
    span = {"entity": f"{best['score']:.2f}", "start": best["start"], "end": best["end"]}
    context = {"text": values["context"], "entities": [span] if best["answer"] else []}
    return [best["answer"], context]


def _table(*headers: str) -> Callable[[], list[Any]]:
    def widgets() -> list[Any]:
        return [
            gradio.Dataframe(
                headers=list(headers), label="Answer", interactive=False, wrap=True, elem_id="answer"
            )
        ]

    return widgets


def _filled(values: Values, result: Any) -> list[Any]:
    several = bool(result) and isinstance(result[0], list)
    blanks = result if several else [result]
    return [
        [
            [number, row["token_str"].strip(), f"{row['score']:.4f}", row["sequence"]]
            for number, rows in enumerate(blanks, start=1)
            for row in rows
        ]
    ]


def _similar(values: Values, result: Sequence[float]) -> list[Any]:
    return [[[sentence, f"{score:.4f}"] for sentence, score in zip(values["sentences"], result, strict=True)]]


def _vectors() -> list[Any]:
    size = gradio.Textbox(label="Shape", interactive=False, elem_id="answer")
    rows = gradio.Dataframe(label=f"The first {_FIRST_NUMBERS} numbers of each vector", interactive=False)
    return [size, rows]


def _hidden_states(values: Values, result: Any) -> list[Any]:
    """Show the shape (1, tokens, hidden), and where each vector begins."""
    vectors = result[0]
    shape = (len(result), len(vectors), len(vectors[0]))
    rows = [[f"{number:.4f}" for number in vector[:_FIRST_NUMBERS]] for vector in vectors]
    return [" × ".join(map(str, shape)), rows]


def _picture() -> list[Any]:
    return [gradio.Image(label="Answer", interactive=False, elem_id="answer")]


def _depth(values: Values, result: Any) -> list[Any]:
    return [result["depth"]]


def _annotated() -> list[Any]:
    return [gradio.AnnotatedImage(label="Answer", elem_id="answer")]


def _boxes(values: Values, result: Any) -> list[Any]:
    boxes = [
        (tuple(int(row["box"][side]) for side in ("xmin", "ymin", "xmax", "ymax")), _named(row))
        for row in result
    ]
    return [(load_image(values["image"]), boxes)]


def _segments(values: Values, result: Any) -> list[Any]:
    return [(load_image(values["image"]), [(_mask(row["mask"]), _named(row)) for row in result])]


def _masks(values: Values, result: Any) -> list[Any]:
    masks = [(_mask(mask), str(number)) for number, mask in enumerate(result["masks"], start=1)]
    return [(load_image(values["image"]), masks)]


def _named(row: Mapping[str, Any]) -> str:
    score = row.get("score")
    return str(row["label"]) if score is None else f"{row['label']} {score:.2f}"


def _mask(mask: Any) -> Any:
    """Return a mask as numbers from 0 to 1, (height, width)."""
    import numpy

    values = numpy.asarray(mask, dtype="float32")
    return values / 255 if values.max(initial=0) > 1 else values


def _sound() -> list[Any]:
    return [gradio.Audio(label="Answer", interactive=False, elem_id="answer")]


def _heard(values: Values, result: Any) -> list[Any]:
    """Give samples as 16-bit whole numbers, (samples,) or (samples, channels)."""
    import numpy

    samples = numpy.asarray(result["audio"], dtype="float32").squeeze()
    loudest = max(1.0, float(numpy.abs(samples).max(initial=0)))
    whole = (samples / loudest * 32767).astype("int16")
    return [(int(result["sampling_rate"]), whole.T if whole.ndim > 1 else whole)]


def _one_text(key: str) -> Answer:
    return Answer(lambda: [_text_box()], _text_of(key))


_LABELS = Answer(_labels, _scored)
_ALL_LABELS = Answer(_labels, _scored, parameters={"top_k": None})

_ANSWERS: Mapping[str, Answer] = {
    "any-to-any": _one_text("generated_text"),
    "audio-classification": _LABELS,
    "automatic-speech-recognition": _one_text("text"),
    "depth-estimation": Answer(_picture, _depth, is_text=False),
    "document-question-answering": _LABELS,
    "feature-extraction": Answer(_vectors, _hidden_states, is_text=False),
    "fill-mask": Answer(_table("blank", "token", "score", "sequence"), _filled),
    "image-classification": _LABELS,
    "image-feature-extraction": Answer(_vectors, _hidden_states, is_text=False),
    "image-segmentation": Answer(_annotated, _segments, is_text=False),
    "image-text-to-text": _one_text("generated_text"),
    "image-to-image": Answer(_picture, lambda values, result: [result], is_text=False),
    "image-to-text": _one_text("generated_text"),
    "mask-generation": Answer(_annotated, _masks, is_text=False),
    "object-detection": Answer(_annotated, _boxes),
    "question-answering": Answer(_answer_in_context, _found_answer),
    "sentence-similarity": Answer(_table("sentence", "similarity"), _similar),
    "summarization": _one_text("summary_text"),
    "table-question-answering": _one_text("answer"),
    "text-classification": _ALL_LABELS,
    "text-generation": _one_text("generated_text"),
    "text-to-audio": Answer(_sound, _heard, is_text=False),
    "text2text-generation": _one_text("generated_text"),
    "token-classification": Answer(lambda: [_highlighted()], _spans),
    "translation": _one_text("translation_text"),
    "video-classification": _LABELS,
    "visual-question-answering": _LABELS,
    "zero-shot-audio-classification": _LABELS,
    "zero-shot-classification": _LABELS,
    "zero-shot-image-classification": _LABELS,
    "zero-shot-object-detection": Answer(_annotated, _boxes),
}
