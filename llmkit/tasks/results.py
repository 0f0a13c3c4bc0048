"""What each task gives for one input, as JSON has it: the shapes behind ``llmkit schema pipeline`` and OpenAPI.

They are those of transformers' pipelines and of llmkit's own. A picture, a recording or a large array is a file, and
the JSON has its path; of a server it is the file itself, in base64.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from llmkit.data.shapes import others

Score = float | None  # null where a model gives NaN
File = str
Ids = list[int] | File


class Label(TypedDict):
    """A class, and how likely it is."""

    label: str
    score: Score


class Token(TypedDict):
    """A token or word with its tag; `start` and `end` are characters of the text, null where nobody knows."""

    entity: str
    score: Score
    index: int
    word: str
    start: int | None
    end: int | None


class Entity(TypedDict):
    """Tokens that are one thing, with -p aggregation_strategy=simple, first, average or max."""

    entity_group: str
    score: Score
    word: str
    start: int | None
    end: int | None


class Candidate(TypedDict):
    """What may fill a blank."""

    score: Score
    token: int
    token_str: str
    sequence: str


class Span(TypedDict):
    """An answer with its place: characters of the context, or words of the document."""

    score: Score
    start: int
    end: int
    answer: str


class WrittenAnswer(TypedDict):
    """An answer that was generated, or one of the model's own with its score."""

    answer: str | None
    score: NotRequired[Score]


class TableAnswer(TypedDict):
    """An answer from a table; `coordinates` are the row and column of each cell."""

    answer: str
    coordinates: NotRequired[list[list[int]]]
    cells: NotRequired[list[str]]
    aggregator: NotRequired[str]


@others(Any)
class Message(TypedDict):
    """A message of a chat; a model may add to its own what it thought or which tools it calls."""

    role: str
    content: NotRequired[str | list[Any] | None]


class Conversation(TypedDict):
    """The messages, the answer last."""

    messages: list[Message]


@others(Any)
class Continued(TypedDict):
    """A text that goes on, or a chat; beside it what `generate` was asked to give."""

    generated_text: str | list[Message]


@others(Any)
class ContinuedIds(TypedDict):
    """The same as token ids, with -p return_tensors=true."""

    generated_token_ids: Ids


class FromMedia(TypedDict):
    """What a model made of a text with images or sound."""

    input_text: str | list[Message]
    generated_text: NotRequired[str | list[Message]]
    generated_image: NotRequired[File | list[Any]]
    generated_audio: NotRequired[File | list[Any]]
    generated_token_ids: NotRequired[Ids]


class Generated(TypedDict):
    """A text that was generated; `score` with --scores, the ids with -p return_tensors=true."""

    generated_text: NotRequired[str]
    generated_token_ids: NotRequired[Ids]
    score: NotRequired[Score]


class Summary(TypedDict):
    """A summary; see `Generated`."""

    summary_text: NotRequired[str]
    summary_token_ids: NotRequired[Ids]
    score: NotRequired[Score]


class Translation(TypedDict):
    """A translation; see `Generated`."""

    translation_text: NotRequired[str]
    translation_token_ids: NotRequired[Ids]
    score: NotRequired[Score]


class Caption(TypedDict):
    """A text about an image."""

    generated_text: str


class Ranked(TypedDict):
    """The candidate labels, the likeliest first."""

    sequence: str
    labels: list[str]
    scores: list[Score]


class Chunk(TypedDict):
    """A part of what is said, with its seconds."""

    text: str
    timestamp: list[float | None]
    language: NotRequired[str | None]


class Transcript(TypedDict):
    """What is said; `chunks` with -p return_timestamps."""

    text: str
    chunks: NotRequired[list[Chunk]]


class Sound(TypedDict):
    """A recording, and its samples a second."""

    audio: File
    sampling_rate: int


class Box(TypedDict):
    """Pixels."""

    xmin: int
    ymin: int
    xmax: int
    ymax: int


class Found(TypedDict):
    """An object in an image."""

    score: Score
    label: str
    box: Box


class Region(TypedDict):
    """A part of an image; `score` is null where the model gives none."""

    score: Score
    label: str | None
    mask: File


class Masks(TypedDict):
    """Everything that was cut out."""

    masks: list[File | list[Any]]
    scores: list[Score] | File
    rle_mask: NotRequired[list[Any]]
    bounding_boxes: NotRequired[list[Any] | File]


class Depth(TypedDict):
    """How far away each pixel is, as numbers and as a picture."""

    predicted_depth: list[list[Score]] | File
    depth: File


class Point(TypedDict):
    """A place in an image, in pixels."""

    x: float
    y: float


class Match(TypedDict):
    """A point that two images share."""

    keypoint_image_0: Point
    keypoint_image_1: Point
    score: Score


class YesNo(TypedDict):
    """How likely it is true."""

    type: Literal["noul"]
    noul: float


class Choice(TypedDict):
    """One of several options."""

    type: Literal["choice"]
    choice: str
    confidence: float
    probabilities: dict[str, float]


class Graded(TypedDict):
    """A grade, and what each of them means."""

    type: Literal["score"]
    score: float
    legend: dict[str, Any]
    confidence: float
    probabilities: dict[str, float]


Vectors = list[list[list[Score]]]
DECISIONS = dict[str, YesNo | Choice | Graded]
LABELLED = Label | list[Label]
LABELS = list[Label]
TAGGED = list[Token | Entity]
FILLED = list[Candidate] | list[list[Candidate]]
FEATURES = Vectors | File
IMAGE_FEATURES = Vectors | list[list[Score]] | File
ANSWERED = Span | list[Span]
DOCUMENT_ANSWERS = list[Span | WrittenAnswer] | Span | WrittenAnswer
IMAGE_ANSWERS = list[WrittenAnswer]
TABLE_ANSWERS = TableAnswer | list[TableAnswer]
CONTINUED = list[Continued | ContinuedIds]
FROM_MEDIA = list[FromMedia] | FromMedia
GENERATED = Generated | list[Generated]
SUMMARIES = Summary | list[Summary]
TRANSLATIONS = Translation | list[Translation]
CAPTIONS = list[Caption]
SIMILARITIES = list[Score]
OBJECTS = list[Found]
REGIONS = list[Region]
MATCHES = list[Match]
