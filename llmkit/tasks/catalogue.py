"""The table of pipeline tasks: what each takes, gives and defaults to.

To add a task is to add a row here and, when transformers has no pipeline for it, a file beside this one.
Nothing here imports torch or transformers: ``llmkit tasks``, help, completion and usage errors read it.

long: it is one table, and a table reads best in one piece.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from enum import StrEnum

from llmkit.errors import UsageError, did_you_mean
from llmkit.tasks.upstream import upstream_aliases, upstream_tasks


class Kind(StrEnum):
    """What a field of an input holds."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    TABLE = "table"
    CHAT = "messages"
    JSON = "json"


class Shape(StrEnum):
    """How one input is handed to the pipeline."""

    VALUE = "value"  # the value of the one required field
    MAPPING = "mapping"  # {field: value}
    PAIR = "pair"  # [first, second]
    CHAT = "chat"  # [{"role": "user", "content": ...}]


class Batching(StrEnum):
    """Which inputs may go through the model together without changing their results."""

    SINGLE = "single"
    PADDED = "padded"  # similar lengths, padded to the longest: the attention mask keeps results apart
    TRIMMED = "trimmed"  # as padded, and the result is cut back to the real tokens
    EQUAL = "equal"  # equal lengths only: the result would hold the padding, or depend on it
    FIXED = "fixed"  # every input has the same size (images after resizing)


class Long(StrEnum):
    """How an input that is longer than the model takes is worked through."""

    NONE = "none"
    NATIVE = "native"  # the pipeline itself goes over it in overlapping chunks
    SCORES = "scores"  # overlapping chunks, the classes' probabilities averaged
    SPANS = "spans"  # overlapping chunks, each span taken from the chunk it lies deepest in
    LAST = "last"  # the last tokens that leave room for what is generated
    EACH = "each"  # several texts, each cut by the pipeline itself
    SECTIONS = "sections"  # sentence by sentence up to the limit, the results joined


@dataclass(frozen=True, slots=True)
class Field:
    """One part of an input: a column of a file, an argument, an option.

    Attributes:
        many: the value is a list (candidate labels, sentences to compare with).
        parameter: the value goes into the call beside the input, not into it.
    """

    name: str
    kind: Kind = Kind.TEXT
    required: bool = True
    many: bool = False
    parameter: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """A row of the table.

    Attributes:
        impl: dotted path of the pipeline class.
        heads: names of the auto classes that load a model for it, tried in turn.
        default_model: hub id and revision when no model is named.
        result_key: the key that holds the text a section-wise result is joined on.
        embedded: the embedded model that serves it when no other can be had: the name of an adapter, or "" for the
            encoder alone.
        encoder_impl: dotted path of the pipeline class in which the encoder alone serves it, where it is another.
        unwraps_single: for a list of one input the pipeline gives that input's result, not a list of it.
        streams: its text can be shown as it is generated.
        has_blank: its text has a blank to fill (`llmkit.tasks.blanks`).
        window_rows: most rows worked on at a time; fewer where inputs or results are large.
    """

    name: str
    summary: str
    modality: str
    fields: tuple[Field, ...]
    example: str
    shape: Shape = Shape.VALUE
    batching: Batching = Batching.SINGLE
    long: Long = Long.NONE
    provider: str = "transformers"
    impl: str = ""
    heads: tuple[str, ...] = ()
    default_model: tuple[str, str | None] | None = None
    result_key: str = ""
    aliases: tuple[str, ...] = ()
    embedded: str | None = None
    encoder_impl: str = ""
    unwraps_single: bool = False
    streams: bool = False
    has_blank: bool = False
    window_rows: int = 2048

    @property
    def required_fields(self) -> tuple[Field, ...]:
        """Return the fields that every input must have."""
        return tuple(field for field in self.fields if field.required)


TEXT = Field("text")
TEXT_PAIR = Field("text_pair", required=False)
IMAGE = Field("image", Kind.IMAGE)
AUDIO = Field("audio", Kind.AUDIO)
VIDEO = Field("video", Kind.VIDEO)
QUESTION = Field("question")
MESSAGES = Field("messages", Kind.CHAT, required=False)
LABELS = Field("candidate_labels", many=True, parameter=True)

_T5 = ("google-t5/t5-base", "a9723ea")
_TEXT_TO_TEXT = "llmkit.tasks.text_to_text"

_ROWS = (
    Task(
        "any-to-any",
        "Text, image, audio or video in; whatever the model makes of it out",
        "multimodal",
        (
            TEXT,
            Field("image", Kind.IMAGE, required=False),
            Field("audio", Kind.AUDIO, required=False),
            Field("video", Kind.VIDEO, required=False),
            MESSAGES,
        ),
        "llmkit pipeline any-to-any --image cat.jpg 'What is on the picture?' --model FOLDER",
        shape=Shape.CHAT,
    ),
    Task(
        "audio-classification",
        "Label a recording",
        "audio",
        (AUDIO,),
        "llmkit pipeline audio-classification speech.wav",
    ),
    Task(
        "automatic-speech-recognition",
        "Write down what is said",
        "audio",
        (AUDIO,),
        "llmkit pipeline automatic-speech-recognition speech.flac",
    ),
    Task(
        "decision",
        "Answer typed questions about a state with a probability for every option",
        "multimodal",
        (
            Field("state", Kind.JSON),
            Field("questions", Kind.JSON),
            Field("assets", Kind.JSON, required=False),
        ),
        """llmkit pipeline decision --input requests.jsonl   # {"state": …, "questions": {…}} a line""",
        shape=Shape.MAPPING,
    ),
    Task(
        "depth-estimation",
        "Estimate how far away each pixel is",
        "image",
        (IMAGE,),
        "llmkit pipeline depth-estimation room.jpg --output-dir depth",
    ),
    Task(
        "document-question-answering",
        "Answer a question about a scanned document",
        "multimodal",
        (IMAGE, QUESTION, Field("word_boxes", Kind.JSON, required=False)),
        "llmkit pipeline document-question-answering invoice.png --question 'What is the total?'",
        shape=Shape.MAPPING,
    ),
    Task(
        "feature-extraction",
        "The last hidden state: one vector a token, shape (1, tokens, hidden)",
        "text",
        (TEXT,),
        "echo 'The bank raised rates' | llmkit pipeline feature-extraction",
        batching=Batching.TRIMMED,
        embedded="",
        window_rows=256,
    ),
    Task(
        "fill-mask",
        "Fill in the blank: [MASK], <mask> or ___",
        "text",
        (TEXT,),
        "llmkit pipeline fill-mask 'Paris is the ___ of France.'",
        batching=Batching.PADDED,
        unwraps_single=True,
        has_blank=True,
        embedded="fill-mask",
    ),
    Task(
        "image-classification",
        "Label an image",
        "image",
        (IMAGE,),
        "llmkit pipeline image-classification cat.jpg",
        batching=Batching.FIXED,
    ),
    Task(
        "image-feature-extraction",
        "The last hidden state of an image: one vector a patch",
        "image",
        (IMAGE,),
        "llmkit pipeline image-feature-extraction cat.jpg",
        batching=Batching.FIXED,
    ),
    Task(
        "image-segmentation",
        "Cut an image into labelled regions",
        "image",
        (IMAGE,),
        "llmkit pipeline image-segmentation street.jpg --output-dir masks",
    ),
    Task(
        "image-text-to-text",
        "Answer a text about an image",
        "multimodal",
        (Field("image", Kind.IMAGE, required=False), TEXT, MESSAGES),
        "llmkit pipeline image-text-to-text --image cat.jpg 'What is it doing?'",
        shape=Shape.CHAT,
    ),
    Task(
        "keypoint-matching",
        "Find the points that two images share",
        "image",
        (Field("first", Kind.IMAGE), Field("second", Kind.IMAGE)),
        "llmkit pipeline keypoint-matching left.jpg right.jpg",
        shape=Shape.PAIR,
        unwraps_single=True,
    ),
    Task(
        "mask-generation",
        "Cut out everything in an image, without labels",
        "image",
        (IMAGE,),
        "llmkit pipeline mask-generation street.jpg --output-dir masks",
    ),
    Task(
        "object-detection",
        "Find objects: label, score and box",
        "image",
        (IMAGE,),
        "llmkit pipeline object-detection street.jpg",
    ),
    Task(
        "table-question-answering",
        "Answer a question about a table",
        "text",
        (Field("table", Kind.TABLE), Field("query")),
        "llmkit pipeline table-question-answering 'How many repositories?' --table repos.csv",
        shape=Shape.MAPPING,
        unwraps_single=True,
    ),
    Task(
        "text-classification",
        "Label a text: sentiment, topic, intent",
        "text",
        (TEXT, TEXT_PAIR),
        "llmkit pipeline sentiment-analysis 'What a lovely day'",
        batching=Batching.PADDED,
        long=Long.SCORES,
        embedded="sentiment",
    ),
    Task(
        "text-generation",
        "Continue a text, or answer chat messages",
        "text",
        (TEXT, MESSAGES),
        "llmkit pipeline text-generation 'Once upon a time' -p max_new_tokens=50",
        batching=Batching.EQUAL,
        long=Long.LAST,
        window_rows=64,
        streams=True,
    ),
    Task(
        "text-to-audio",
        "Speak a text, or make the sound it describes",
        "audio",
        (TEXT,),
        "llmkit pipeline text-to-speech 'Good morning' --output-dir audio",
    ),
    Task(
        "token-classification",
        "Label the words of a text: names, parts of speech",
        "text",
        (TEXT,),
        "llmkit pipeline ner 'Ada Lovelace lived in London' -p aggregation_strategy=simple",
        batching=Batching.PADDED,
        long=Long.SPANS,
        embedded="token-classification",
    ),
    Task(
        "video-classification",
        "Label a video",
        "video",
        (VIDEO,),
        "llmkit pipeline video-classification clip.mp4",
    ),
    Task(
        "zero-shot-audio-classification",
        "Label a recording with labels of your own",
        "audio",
        (AUDIO, LABELS),
        "llmkit pipeline zero-shot-audio-classification dog.wav --labels barking,meowing",
    ),
    Task(
        "zero-shot-classification",
        "Label a text with labels of your own",
        "text",
        (TEXT, LABELS),
        "llmkit pipeline zero-shot-classification 'The rates went up' --labels finance,sports",
        batching=Batching.PADDED,
        embedded="",
        encoder_impl="llmkit.tasks.zero_shot_similarity.ZeroShotSimilarityPipeline",
    ),
    Task(
        "zero-shot-image-classification",
        "Label an image with labels of your own",
        "image",
        (IMAGE, LABELS),
        "llmkit pipeline zero-shot-image-classification cat.jpg --labels cat,dog",
    ),
    Task(
        "zero-shot-object-detection",
        "Find objects that you name",
        "image",
        (IMAGE, replace(LABELS, parameter=False)),
        "llmkit pipeline zero-shot-object-detection street.jpg --labels bicycle,lamp",
        shape=Shape.MAPPING,
    ),
    Task(
        "question-answering",
        "Find the answer to a question in a text, with its place",
        "text",
        (QUESTION, Field("context")),
        "llmkit pipeline question-answering --question 'Who wrote it?' --context-file book.txt",
        shape=Shape.MAPPING,
        batching=Batching.PADDED,
        long=Long.NATIVE,
        provider="llmkit",
        impl="llmkit.tasks.question_answering.QuestionAnsweringPipeline",
        heads=("AutoModelForQuestionAnswering",),
        default_model=("distilbert/distilbert-base-cased-distilled-squad", "564e9b5"),
        embedded="question-answering",
    ),
    Task(
        "summarization",
        "Shorten a text",
        "text",
        (TEXT,),
        "llmkit pipeline summarization --input article.txt",
        batching=Batching.PADDED,
        long=Long.SECTIONS,
        provider="llmkit",
        impl=f"{_TEXT_TO_TEXT}.SummarizationPipeline",
        heads=("AutoModelForSeq2SeqLM",),
        default_model=("sshleifer/distilbart-cnn-12-6", "a4f8f3e"),
        result_key="summary_text",
        window_rows=64,
    ),
    Task(
        "translation",
        "Translate: translation_XX_to_YY, or -p src_lang=… -p tgt_lang=…",
        "text",
        (TEXT,),
        "llmkit pipeline translation_en_to_fr 'How old are you?'",
        batching=Batching.PADDED,
        long=Long.SECTIONS,
        provider="llmkit",
        impl=f"{_TEXT_TO_TEXT}.TranslationPipeline",
        heads=("AutoModelForSeq2SeqLM",),
        default_model=_T5,
        result_key="translation_text",
        aliases=("translation_XX_to_YY",),
        window_rows=64,
    ),
    Task(
        "text2text-generation",
        "Text in, text out, by an encoder-decoder model",
        "text",
        (TEXT,),
        "llmkit pipeline text2text-generation 'question: What is 42? context: 42 is the answer'",
        batching=Batching.PADDED,
        provider="llmkit",
        impl=f"{_TEXT_TO_TEXT}.Text2TextGenerationPipeline",
        heads=("AutoModelForSeq2SeqLM",),
        default_model=_T5,
        result_key="generated_text",
        window_rows=64,
    ),
    Task(
        "image-to-text",
        "Caption an image, or read the text in it",
        "multimodal",
        (IMAGE,),
        "llmkit pipeline image-to-text cat.jpg",
        provider="llmkit",
        impl="llmkit.tasks.image_to_text.ImageToTextPipeline",
        heads=("AutoModelForImageTextToText",),
        default_model=("ydshieh/vit-gpt2-coco-en", "5bebf1e"),
    ),
    Task(
        "image-to-image",
        "Turn an image into another: larger, cleaner",
        "image",
        (IMAGE,),
        "llmkit pipeline image-to-image small.png --output-dir larger",
        provider="llmkit",
        impl="llmkit.tasks.image_to_image.ImageToImagePipeline",
        heads=("AutoModelForImageToImage",),
        default_model=("caidas/swin2SR-classical-sr-x2-64", "cee1c92"),
    ),
    Task(
        "visual-question-answering",
        "Answer a question about an image",
        "multimodal",
        (IMAGE, QUESTION),
        "llmkit pipeline visual-question-answering cat.jpg --question 'How many cats?'",
        shape=Shape.MAPPING,
        provider="llmkit",
        impl="llmkit.tasks.visual_question_answering.VisualQuestionAnsweringPipeline",
        heads=("AutoModelForVisualQuestionAnswering",),
        default_model=("dandelin/vilt-b32-finetuned-vqa", "d0a1f6a"),
        aliases=("vqa",),
    ),
    Task(
        "conversational",
        "Chat: messages in, the conversation with the answer out",
        "text",
        (replace(MESSAGES, required=True),),
        "llmkit pipeline conversational 'Tell me a joke'",
        shape=Shape.CHAT,
        provider="llmkit",
        impl="llmkit.tasks.conversational.ConversationalPipeline",
        heads=("AutoModelForCausalLM", "AutoModelForSeq2SeqLM"),
        default_model=("microsoft/DialoGPT-medium", "8bada3b"),
        window_rows=64,
        streams=True,
    ),
    Task(
        "sentence-similarity",
        "Score how alike sentences are to a source sentence",
        "text",
        (Field("source_sentence"), Field("sentences", many=True)),
        "llmkit pipeline sentence-similarity 'a cat' 'a kitten' 'a truck'",
        shape=Shape.MAPPING,
        long=Long.EACH,
        provider="llmkit",
        impl="llmkit.tasks.sentence_similarity.SentenceSimilarityPipeline",
        heads=("AutoModel",),
        default_model=("sentence-transformers/all-MiniLM-L6-v2", "c9745ed"),
        embedded="",
    ),
)

_FIELD_BY_MODALITY = {"image": IMAGE, "audio": AUDIO, "video": VIDEO}
_TRANSLATION = re.compile(r"translation_([^_]+)_to_([^_]+)")
TRANSLATION_DEFAULTS = {("en", "fr"): _T5, ("en", "de"): _T5, ("en", "ro"): _T5}


@functools.cache
def tasks() -> dict[str, Task]:
    """Return every task there is here, by name in alphabetical order.

    llmkit's own rows, joined with what the installed transformers offers: a task that it adds appears
    with a row made from its own table, and one that it does not have yet does not appear.
    """
    upstream = upstream_tasks()
    aliases: dict[str, list[str]] = {}
    for alias, target in upstream_aliases().items():
        aliases.setdefault(target, []).append(alias)
    table = {row.name: row for row in _ROWS if row.provider == "llmkit"}
    known = {row.name: row for row in _ROWS}
    for name, found in upstream.items():
        if name in table:  # ours: image-to-text would be redirected to a pipeline that drops the image
            continue
        field = _FIELD_BY_MODALITY.get(found.modality, TEXT)
        row = known.get(name) or Task(
            name,
            f"See transformers' documentation of {name}",
            found.modality,
            (field,),
            f"llmkit pipeline {name} INPUT",
        )
        table[name] = replace(
            row,
            impl=found.impl,
            heads=found.heads,
            default_model=found.default_model,
            aliases=tuple(aliases.get(name, ())),
        )
    return dict(sorted(table.items()))


@dataclass(frozen=True, slots=True)
class TaskCall:
    """A task as the user named it: ``translation_en_to_fr`` is `translation` with two languages."""

    task: Task
    name: str
    source_language: str | None = None
    target_language: str | None = None

    @property
    def default_model(self) -> tuple[str, str | None] | None:
        """Return the model for this call, or None when there is none for this pair of languages."""
        if self.task.name != "translation":
            return self.task.default_model
        return TRANSLATION_DEFAULTS.get((self.source_language or "", self.target_language or ""))


def find_task(name: str) -> TaskCall:
    """Return the task that `name`, an alias or a translation pair stands for.

    Raises:
        UsageError: no such task; the message has the nearest name.
    """
    table = tasks()
    if name in table:
        return TaskCall(table[name], name)
    if (pair := _TRANSLATION.fullmatch(name)) and pair[1] != "XX":
        return TaskCall(table["translation"], name, pair[1], pair[2])
    for task in table.values():
        if name in task.aliases:
            return TaskCall(task, task.name)
    guess = did_you_mean(name, task_names())
    raise UsageError(
        f"unknown task '{name}'" + (f": {guess}" if guess else "."),
        hint="`llmkit tasks` lists them all.",
    )


def task_names() -> list[str]:
    """Return every name a task can be called by: names and aliases."""
    return sorted({*tasks(), *(alias for task in tasks().values() for alias in task.aliases)})
