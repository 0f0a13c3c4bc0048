"""What a row of the table of tasks says: a task's fields, and how its inputs are composed, batched and cut."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
        result: where the shape of what it gives for one input is (`llmkit.data.shapes`); "" where nobody says it.
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
    result: str = ""

    @property
    def required_fields(self) -> tuple[Field, ...]:
        """Return the fields that every input must have."""
        return tuple(field for field in self.fields if field.required)
