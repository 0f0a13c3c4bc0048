"""What the JSON of a report looks like: the shapes of what `report.py` makes, for ``llmkit schema params``."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from llmkit.architectures.checkpoint import Report
from llmkit.architectures.counted import Buffer, Kind, Quantity
from llmkit.architectures.fitting import Fit
from llmkit.architectures.lora import LoraRow
from llmkit.architectures.rows import Row
from llmkit.architectures.tree import Node


class Paper(TypedDict):
    """Where a model was published."""

    title: str
    year: int
    url: str


class TensorObject(TypedDict):
    """All tensors of one shape that differ in the number of their layer only; see `counted.Tensor`."""

    name: str
    shape: list[int]
    copies: int
    total: int
    formula: str
    numbers: str
    component: str
    module_class: str
    stack: str | None
    uses: int
    active: float
    is_head: bool
    tied: list[str]


class LoraObject(TypedDict):
    """Adapters on the model (--lora): what is trained of how much, and where."""

    r: int
    alpha: float | None
    targets: list[str]
    trainable: int
    total: int
    share: float
    note: str | None
    modules: list[LoraRow]


class Fits(TypedDict):
    """Ways to run and to train the model in a memory of so many bytes (--fits)."""

    memory: int
    headroom: str
    ways: list[Fit]


class ModelObject(TypedDict):
    """What a model is made of, and what it costs; `active` parameters are those that one token meets.

    `memory` and `kv_cache` are in bytes, `compute` in FLOPs, each with its formula, at `batch_size` and
    `sequence_length`.
    """

    model: str
    total: int
    active: int
    trainable: int
    kind: Kind
    head: str
    usual_head: str | None
    usual_head_adds: int | None
    model_type: str
    model_class: str
    published: int | None
    published_text: str | None
    paper: Paper | None
    context: int | None
    vocabulary: int
    shared_layers: str | None
    settings: dict[str, Any]
    components: list[Row]
    tensors: list[TensorObject]
    tree: Node
    tied: list[list[str]]
    buffers: list[Buffer]
    config: dict[str, Any]
    lora: LoraObject | None
    batch_size: int
    sequence_length: int
    memory: list[Quantity]
    kv_cache: list[Quantity]
    compute: list[Quantity]
    fits: Fits | None
    checkpoint: NotRequired[Report]


class EntryObject(TypedDict):
    """An entry of the catalogue (--list); `undisclosed` says what was never published of it."""

    model: str
    aliases: list[str]
    family: str
    model_type: str | None
    total: int | None
    published: int | None
    published_text: str | None
    paper: str
    year: int
    url: str
    hub_id: str | None
    undisclosed: str | None


class TotalObject(TypedDict):
    """A model's number of parameters alone: ``--total`` with a format."""

    model: str
    total: int


PARAMETERS = ModelObject | EntryObject | TotalObject
