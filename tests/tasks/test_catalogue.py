"""The table of tasks, and what transformers' own source says of them."""

import ast

import pytest

from llmkit.errors import UsageError
from llmkit.tasks import catalogue, upstream
from llmkit.tasks.build import load_class
from llmkit.tasks.catalogue import find_task, task_names, tasks
from tests.fixtures.versions import offers_decision

TRANSFORMERS = [
    "any-to-any",
    "audio-classification",
    "automatic-speech-recognition",
    "decision",
    "depth-estimation",
    "document-question-answering",
    "feature-extraction",
    "fill-mask",
    "image-classification",
    "image-feature-extraction",
    "image-segmentation",
    "image-text-to-text",
    "keypoint-matching",
    "mask-generation",
    "object-detection",
    "table-question-answering",
    "text-classification",
    "text-generation",
    "text-to-audio",
    "token-classification",
    "video-classification",
    "zero-shot-audio-classification",
    "zero-shot-classification",
    "zero-shot-image-classification",
    "zero-shot-object-detection",
]
OURS = [
    "conversational",
    "image-to-image",
    "image-to-text",
    "question-answering",
    "sentence-similarity",
    "summarization",
    "text2text-generation",
    "translation",
    "visual-question-answering",
]
ALIASES = {
    "sentiment-analysis": "text-classification",
    "ner": "token-classification",
    "vqa": "visual-question-answering",
    "text-to-speech": "text-to-audio",
}


HERE = len(tasks())  # 34 with transformers 5.23


@offers_decision
def test_there_are_34():
    assert list(tasks()) == sorted([*TRANSFORMERS, *OURS])
    assert [name for name, task in tasks().items() if task.provider == "llmkit"] == OURS


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_aliases(alias, name):
    call = find_task(alias)
    assert (call.task.name, call.name) == (name, name)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[offers_decision] if name == "decision" else [])
        for name in (*TRANSFORMERS, *OURS)
    ],
)
def test_each_row_is_whole(name):
    task = tasks()[name]
    assert task.name == name
    assert task.summary
    assert (
        name in task.example
        or any(alias in task.example for alias in task.aliases)
        or "translation_" in task.example
    )
    assert task.required_fields
    assert len({field.name for field in task.fields}) == len(task.fields)
    assert load_class(task).__name__.endswith("Pipeline")
    assert task.heads
    assert task.default_model or name == "translation"


@pytest.mark.parametrize(
    ("name", "pair", "default"),
    [
        ("translation_en_to_fr", ("en", "fr"), ("google-t5/t5-base", "a9723ea")),
        ("translation_en_to_de", ("en", "de"), ("google-t5/t5-base", "a9723ea")),
        ("translation_fr_to_en", ("fr", "en"), None),
        ("translation_zh-CN_to_pt-BR", ("zh-CN", "pt-BR"), None),
        ("translation", (None, None), None),
    ],
)
def test_pairs_of_languages(name, pair, default):
    call = find_task(name)
    assert call.task.name == "translation"
    assert call.name == name
    assert (call.source_language, call.target_language) == pair
    assert call.default_model == default


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("summarizaton", "summarization"),
        ("Fill-Mask", "fill-mask"),
        ("sentiment_analysis", "sentiment-analysis"),
        ("qa", "question-answering"),
        ("TTS", "text-to-speech"),
        ("asr", "automatic-speech-recognition"),
        ("tc", "text-classification or token-classification"),
    ],
)
def test_a_name_that_was_mistyped(name, guess):
    with pytest.raises(UsageError, match=rf"no such task: '{name}'; did you mean {guess}\?"):
        find_task(name)


@pytest.mark.parametrize(
    "name", ["", "xyzzy", "translation_en_fr", "translation_to_", "translation_a_to_b_c"]
)
def test_a_name_that_is_none(name):
    with pytest.raises(UsageError, match="no such task"):
        find_task(name)


def test_every_name_finds_its_task():
    assert {*tasks(), *ALIASES} <= set(task_names())
    for name in task_names():
        assert find_task(name).task in tasks().values()


@pytest.fixture
def newer(monkeypatch):
    """Tasks read from a source of one's own, as another release of transformers would have it."""

    def read(change):
        path = upstream.package_file("transformers.pipelines")
        tree = ast.parse(change(path.read_text(encoding="utf-8")))
        monkeypatch.setattr(upstream, "parse_module", lambda dotted: tree)
        for cached in (upstream.upstream_tasks, upstream.upstream_aliases, catalogue.tasks):
            cached.cache_clear()

    yield read
    monkeypatch.undo()
    for cached in (upstream.upstream_tasks, upstream.upstream_aliases, catalogue.tasks):
        cached.cache_clear()


def test_a_task_that_a_newer_transformers_adds_shows_up(newer):
    added = """SUPPORTED_TASKS = {
    "video-to-smell": {
        "impl": "transformers.pipelines.smell.SmellPipeline",
        "pt": (AutoModelForSmell,) if is_torch_available() else (),
        "default": {"model": ("org/smell", "abc1234")},
        "type": "video",
    },"""
    newer(
        lambda source: source.replace("SUPPORTED_TASKS = {", added, 1).replace(
            "TASK_ALIASES = {", 'TASK_ALIASES = {"smell": "video-to-smell",', 1
        )
    )
    task = find_task("smell").task
    assert len(tasks()) == HERE + 1
    assert (task.name, task.impl, task.heads) == (
        "video-to-smell", "transformers.pipelines.smell.SmellPipeline", ("AutoModelForSmell",),
    )  # fmt: skip
    assert task.default_model == ("org/smell", "abc1234")
    assert [field.kind for field in task.fields] == [catalogue.Kind.VIDEO]
    assert (task.modality, task.provider) == ("video", "transformers")


def test_a_task_that_it_drops_is_gone(newer):
    newer(lambda source: source.replace('    "depth-estimation": {', '    "renamed": {', 1))
    assert "depth-estimation" not in tasks()
    assert len(tasks()) == HERE


def test_a_task_of_ours_that_it_has_stays_ours(newer):
    newer(lambda source: source.replace('    "depth-estimation": {', '    "summarization": {', 1))
    assert tasks()["summarization"].provider == "llmkit"


def test_without_transformers_there_are_ours(monkeypatch):
    monkeypatch.setattr(upstream, "parse_module", lambda dotted: None)
    for cached in (upstream.upstream_tasks, upstream.upstream_aliases, catalogue.tasks):
        cached.cache_clear()
    try:
        assert list(tasks()) == OURS
    finally:
        monkeypatch.undo()
        for cached in (upstream.upstream_tasks, upstream.upstream_aliases, catalogue.tasks):
            cached.cache_clear()


def test_the_default_of_any_to_any_is_found_where_transformers_nests_it():
    repository, revision = tasks()["any-to-any"].default_model
    assert repository.count("/") == 1
    assert revision
