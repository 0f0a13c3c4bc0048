"""Every task and every alias through the real command, held against the pipeline itself on the same model."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from llmkit.tasks.catalogue import tasks
from tests.fixtures import tiny as builders
from tests.fixtures.command import Command, Completed
from tests.fixtures.media import TABLE, word_boxes, write_media

GREEDY = ("-p", "do_sample=false", "-p", "max_new_tokens=6")
EVERY_MASK = {"pred_iou_thresh": -9, "stability_score_thresh": -9, "points_per_crop": 4}
MASKS = tuple(word for name, value in EVERY_MASK.items() for word in ("-p", f"{name}={value}"))
TEXT = "Angela Merkel met the president in Paris"
PARAGRAPH = "The Eiffel tower stands in Paris. It was built in 1889 by the company of Gustave Eiffel."

# task -> the command's arguments, and the call of the pipeline that must give the same.
CALLS: dict[str, tuple[tuple[str, ...], tuple[Any, ...], dict[str, Any]]] = {
    "audio-classification": (("{tone}",), ("{tone}",), {}),
    "automatic-speech-recognition": (("{tone}",), ("{tone}",), {}),
    "depth-estimation": (("{cat}",), ("{cat}",), {}),
    "document-question-answering": (
        ("{document}", "--question", "What is the total?"),
        (),
        {"image": "{document}", "question": "What is the total?"},
    ),
    "feature-extraction": ((TEXT,), (TEXT,), {}),
    "fill-mask": ((f"{TEXT} [MASK]",), (f"{TEXT} [MASK]",), {}),
    "image-classification": (("{cat}",), ("{cat}",), {}),
    "image-feature-extraction": (("{cat}",), ("{cat}",), {}),
    "image-segmentation": (("{cat}",), ("{cat}",), {}),
    "keypoint-matching": (("{cat}", "{dog}"), (["{cat}", "{dog}"],), {}),
    "mask-generation": (("{cat}", *MASKS), ("{cat}",), EVERY_MASK),
    "object-detection": (("{cat}", "-p", "threshold=0.0"), ("{cat}",), {"threshold": 0.0}),
    "table-question-answering": (
        ("How many people?", "--table", "{table}"),
        (),
        {"table": TABLE, "query": "How many people?"},
    ),
    "text-classification": ((TEXT,), ([TEXT],), {}),
    "text-generation": ((TEXT, *GREEDY), (TEXT,), {"do_sample": False, "max_new_tokens": 6}),
    "text-to-audio": ((TEXT,), (TEXT,), {}),
    "token-classification": ((TEXT,), (TEXT,), {}),
    "video-classification": (("{clip}",), ("{clip}",), {}),
    "zero-shot-audio-classification": (
        ("{tone}", "--labels", "a dog,a bell"),
        ("{tone}",),
        {"candidate_labels": ["a dog", "a bell"]},
    ),
    "zero-shot-classification": (
        (TEXT, "--labels", "politics,sports"),
        (TEXT,),
        {"candidate_labels": ["politics", "sports"]},
    ),
    "zero-shot-image-classification": (
        ("{cat}", "--labels", "a cat,a dog"),
        ("{cat}",),
        {"candidate_labels": ["a cat", "a dog"]},
    ),
    "zero-shot-object-detection": (
        ("{cat}", "--labels", "a cat,a dog", "-p", "threshold=0.0"),
        ("{cat}",),
        {"candidate_labels": ["a cat", "a dog"], "threshold": 0.0},
    ),
    "question-answering": (
        ("--question", "Who built it?", "--context", PARAGRAPH),
        (),
        {"question": "Who built it?", "context": PARAGRAPH},
    ),
    "summarization": ((TEXT, *GREEDY), ([TEXT],), {"do_sample": False, "max_new_tokens": 6}),
    "translation": (
        (TEXT, "-p", "src_lang=en", "-p", "tgt_lang=fr", *GREEDY),
        ([TEXT],),
        {"do_sample": False, "max_new_tokens": 6, "src_lang": "en", "tgt_lang": "fr"},
    ),
    "text2text-generation": ((TEXT, *GREEDY), ([TEXT],), {"do_sample": False, "max_new_tokens": 6}),
    "image-to-text": (("{cat}", "-p", "max_new_tokens=6"), ("{cat}",), {"max_new_tokens": 6}),
    "image-to-image": (("{cat}",), ("{cat}",), {}),
    "visual-question-answering": (
        ("{cat}", "--question", "How many?"),
        (),
        {"image": "{cat}", "question": "How many?"},
    ),
    "conversational": ((TEXT, *GREEDY), (TEXT,), {"do_sample": False, "max_new_tokens": 6}),
    "sentence-similarity": (
        ("a cat", "a kitten", "a truck"),
        ({"source_sentence": "a cat", "sentences": ["a kitten", "a truck"]},),
        {},
    ),
}


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_media(tmp_path_factory.mktemp("media"))


def fill(value: Any, media: dict[str, Path]) -> Any:
    """Put the paths of media in for ``{cat}`` and its like."""
    if isinstance(value, str) and value.startswith("{") and value.endswith("}"):
        return str(media[value[1:-1]])
    if isinstance(value, list | tuple):
        return type(value)(fill(each, media) for each in value)
    if isinstance(value, dict):
        return {key: fill(each, media) for key, each in value.items()}
    return value


def load(value: Any) -> Any:
    """Turn a path that a result names back into what was written there."""
    if isinstance(value, str) and value.endswith(".npy"):
        return numpy.load(value)
    if isinstance(value, str) and value.endswith(".png") and "files" in value:
        from PIL import Image

        return numpy.asarray(Image.open(value))
    if isinstance(value, str) and value.endswith(".wav") and "files" in value:
        import soundfile

        return soundfile.read(value, dtype="float32")[0]
    return value


def assert_equal(given: Any, expected: Any, where: str = "result") -> None:
    """Compare a result as JSON with the pipeline's own: keys, order, types, numbers to 1e-5."""
    given = load(given)
    if hasattr(expected, "messages"):
        expected = {"messages": expected.messages}
    if hasattr(expected, "getpixel"):
        expected = numpy.asarray(expected)
    if hasattr(expected, "numpy"):
        expected = expected.numpy()
    if isinstance(expected, dict):
        assert list(given) == list(expected), where
        for key in expected:
            assert_equal(given[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, list | tuple) and not isinstance(given, numpy.ndarray):
        assert len(given) == len(expected), where
        for number, (one, other) in enumerate(zip(given, expected, strict=True)):
            assert_equal(one, other, f"{where}[{number}]")
    elif isinstance(expected, numpy.ndarray):
        # Audio is kept as 16-bit samples.
        numpy.testing.assert_allclose(numpy.asarray(given), expected.squeeze(), atol=1e-4, err_msg=where)
    elif isinstance(expected, float | numpy.floating):
        assert isinstance(given, float), where
        assert math.isclose(given, float(expected), abs_tol=1e-5), where
    else:
        assert given == expected, where


def reference(task: str, folder: Path, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the pipeline gives: transformers' own where it has one, llmkit's in Python where it has not."""
    from llmkit import pipeline
    from llmkit.data.media import load_audio

    build = pipeline
    if tasks()[task].provider == "transformers" and builders.missing(task) is None:
        from transformers import pipeline as build  # type: ignore[assignment]
    pipe = build(task, model=str(folder), device="cpu")
    if task in ("audio-classification", "automatic-speech-recognition", "zero-shot-audio-classification"):
        args = (load_audio(args[0], pipe.feature_extractor.sampling_rate),)
    result = pipe(*args, **kwargs)
    is_list_of_one = args and isinstance(args[0], list) and task not in ("keypoint-matching",)
    return result[0] if is_list_of_one else result


@pytest.mark.parametrize("task", sorted(CALLS))
def test_task_gives_what_the_pipeline_gives(
    task: str, llmkit: Command, tiny: Callable[[str], Path], media: dict[str, Path], tmp_path: Path
) -> None:
    if task not in tasks():
        pytest.skip(f"the installed transformers has no {task}")
    if task == "text-to-audio" and (reason := builders.missing(task)):
        pytest.skip(reason)
    command, args, kwargs = CALLS[task]
    folder = tiny(task)
    if task == "document-question-answering":
        line = json.dumps(fill(kwargs, media) | {"word_boxes": word_boxes()})
        done = llmkit("pipeline", task, "-m", folder, stdin=f"{line}\n")
        kwargs = kwargs | {"word_boxes": word_boxes()}
    else:
        done = llmkit(
            "pipeline", task, "-m", folder, "--output-dir", tmp_path / "files", *fill(command, media)
        )
    assert done.code == 0, done.stderr
    (given,) = done.lines
    if task == "mask-generation" and builders.missing(task):
        assert set(given) == {"masks", "scores"}
        assert len(given["masks"]) == len(given["scores"]) > 0
        return
    expected = reference(task, folder, fill(args, media), fill(kwargs, media))
    if task == "text-to-audio":
        assert given["sampling_rate"] == expected["sampling_rate"]
        assert load(given["audio"]).shape == expected["audio"].squeeze().shape
        return
    assert_equal(given, expected)


def test_any_to_any(
    llmkit: Command, tiny: Callable[[str], Path], media: dict[str, Path], tmp_path: Path
) -> None:
    if reason := builders.missing("any-to-any"):
        pytest.skip(reason)
    done = llmkit(
        "pipeline", "any-to-any", "-m", tiny("any-to-any"), "What is this?",
        "-p", "max_new_tokens=4", "-p", "do_sample=false",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert "generated_text" in json.dumps(done.lines)


def test_decision(llmkit: Command, tiny: Callable[[str], Path], media: dict[str, Path]) -> None:
    if "decision" not in tasks():
        pytest.skip("the installed transformers has no decision")
    (request,) = builders.samples(media)["decision"].args
    done = llmkit("pipeline", "decision", "-m", tiny("decision"), stdin=json.dumps(request) + "\n")
    assert done.code == 0, done.stderr
    import transformers

    expected = transformers.pipeline("decision", model=str(tiny("decision")))(request)
    assert_equal(done.lines[0], expected)


def test_image_text_to_text(llmkit: Command, tiny: Callable[[str], Path], media: dict[str, Path]) -> None:
    folder = tiny("image-text-to-text")
    done = llmkit(
        "pipeline", "image-text-to-text", "--image", media["cat"], "This is a photo of", "-m", folder,
        "-p", "max_new_tokens=4", "-p", "do_sample=false",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    (records,) = done.lines
    assert "generated_text" in records[0]
    assert str(media["cat"]) in json.dumps(records[0]["input_text"])


ALIASES = {
    "sentiment-analysis": "text-classification",
    "ner": "token-classification",
    "vqa": "visual-question-answering",
    "text-to-speech": "text-to-audio",
}


@pytest.mark.parametrize("alias", ALIASES)
def test_alias_is_its_task(
    alias: str, llmkit: Command, tiny: Callable[[str], Path], media: dict[str, Path], tmp_path: Path
) -> None:
    task = ALIASES[alias]
    if task == "text-to-audio" and (reason := builders.missing(task)):
        pytest.skip(reason)
    again = ("--output-dir", tmp_path, "--overwrite")
    arguments = ("-m", tiny(task), "--seed", "1", *again, *fill(CALLS[task][0], media))
    by_alias, by_name = (llmkit("pipeline", name, *arguments) for name in (alias, task))
    assert by_alias.code == 0, by_alias.stderr
    assert by_alias.stdout == by_name.stdout != b""


def test_translation_by_its_pair(llmkit: Command, tiny: Callable[[str], Path]) -> None:
    folder = tiny("translation")
    by_name = llmkit("pipeline", "translation_en_to_fr", TEXT, "-m", folder, *GREEDY)
    by_option = llmkit(
        "pipeline", "translation", TEXT, "-m", folder, "-p", "src_lang=en", "-p", "tgt_lang=fr", *GREEDY
    )
    assert by_name.code == 0, by_name.stderr
    assert by_name.stdout == by_option.stdout


def test_every_task_is_called_here() -> None:
    elsewhere = {"any-to-any", "decision", "image-text-to-text"}
    assert set(CALLS) | elsewhere >= set(tasks())


def test_the_tasks_are_those_of_the_issue(llmkit: Command) -> None:
    done: Completed = llmkit("tasks", "--format", "json")
    listed = {row["task"] for row in done.json}
    dropped = set(builders.DROPPED)
    assert dropped <= listed
    assert {row["task"] for row in done.json if row["provider"] == "llmkit"} == dropped
    for row in done.json:
        assert {"task", "aliases", "modality", "default_model", "provider"} <= set(row)
