"""How a matrix of similarities looks: for a person, as JSON and CSV, and as a picture of the vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NotRequired

from typing_extensions import TypedDict

from llmkit.cli.drawing import look_of
from llmkit.cli.scatter import scatter
from llmkit.cli.sheets import Column, Sheet

if TYPE_CHECKING:
    from llmkit.cli.channels import ResultStream
    from llmkit.embeddings.comparing import Comparison, Item
    from llmkit.embeddings.projection import Projection


class _Pair(TypedDict):
    a: str
    b: str
    a_text: NotRequired[int]
    b_text: NotRequired[int]


class CosineOfPair(_Pair):
    """How alike two texts are, or two words or tokens of the texts with these numbers, from 0."""

    cosine: float


class DotOfPair(_Pair):
    """The same with --measure dot."""

    dot: float


class DistanceOfPair(_Pair):
    """The same with --measure euclidean: 0 for what is equal."""

    euclidean: float


class Compared(TypedDict):
    """A word or token that is compared: of which text, from 0, and where, in characters."""

    label: NotRequired[str]
    text: int
    start: int
    end: int


class Matrix(TypedDict):
    """All texts, each with each other (--format json)."""

    measure: Literal["cosine", "dot", "euclidean"]
    texts: list[str]
    items: NotRequired[list[Compared]]
    matrix: list[list[float]]


SIMILARITY = CosineOfPair | DotOfPair | DistanceOfPair | Matrix
_LABEL_WIDTH = 44
_CONTEXT = 24
_MOST_DRAWN = 99
_LEAST_DRAWN = 3  # two points are always a line


def matrix_sheets(comparison: Comparison, drawn_on: ResultStream | None) -> list[Sheet]:
    """Return the matrix and, for a place that can show it, the picture."""
    items = comparison.items
    what = "distance" if comparison.measure == "euclidean" else "similarity"
    rows = [
        (f"{number} {shown(item, comparison)}", *(f"{value:.3f}" for value in values))
        for number, (item, values) in enumerate(zip(items, comparison.matrix.tolist(), strict=True), start=1)
    ]
    columns = (
        Column(""),
        *(Column(str(number), is_number=True) for number in range(1, len(items) + 1)),
    )
    matrix = Sheet(
        f"{comparison.measure} {what}",
        columns,
        tuple(rows),
        notes=_extremes(comparison),
        is_comparison=True,
    )
    if drawn_on is None or not _LEAST_DRAWN <= len(items) <= _MOST_DRAWN:
        return [matrix]
    projection = _projected(comparison)
    first, second = projection.shares
    points = [(float(x), float(y)) for x, y in projection.points]
    lines = scatter(points, [str(number) for number in range(1, len(items) + 1)], look_of(drawn_on).width)
    title = (
        f"the vectors in two dimensions (principal components: {first:.0%} and {second:.0%} of the variance)"
    )
    return [matrix, Sheet(title, notes=tuple(lines))]


def _extremes(comparison: Comparison) -> tuple[str, ...]:
    """Say which two are nearest and which farthest."""
    if len(comparison.items) < _LEAST_DRAWN:
        return ()
    pairs = [
        (float(comparison.matrix[one, other]), one + 1, other + 1)
        for one in range(len(comparison.items))
        for other in range(one + 1, len(comparison.items))
    ]
    low, high = min(pairs), max(pairs)
    near, far = (low, high) if comparison.measure == "euclidean" else (high, low)
    return (
        f"Nearest: {near[1]} and {near[2]} ({near[0]:.3f}). Farthest: {far[1]} and {far[2]} ({far[0]:.3f}).",
    )


def matrix_object(comparison: Comparison) -> dict[str, Any]:
    """Return the whole comparison as one object."""
    items: dict[str, Any] = {}
    if comparison.items[0].place is not None:
        items["items"] = [_item_object(each, comparison) for each in comparison.items]
    return {
        "measure": comparison.measure,
        "texts": comparison.texts,
        **items,
        "matrix": comparison.matrix.tolist(),
    }


def _item_object(item: Item, comparison: Comparison) -> dict[str, Any]:
    label = {} if item.label == comparison.texts[item.text] else {"label": item.label}
    start, end = item.place or (0, 0)
    return {**label, "text": item.text, "start": start, "end": end}


def pair_objects(comparison: Comparison) -> list[dict[str, Any]]:
    """Return an object for each two that are compared, as a file of pairs has them."""
    found: list[dict[str, Any]] = []
    for one, first in enumerate(comparison.items):
        for other in range(one + 1, len(comparison.items)):
            second = comparison.items[other]
            places = (
                {"a_text": first.text, "b_text": second.text}
                if first.label != comparison.texts[first.text]
                else {}
            )
            value = float(comparison.matrix[one, other])
            found.append({"a": first.label, "b": second.label, **places, comparison.measure: value})
    return found


def matrix_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the matrix as rows of a table, its columns numbered as its rows are."""
    return [
        {
            "number": number,
            "text": item.label,
            **{str(other): value for other, value in enumerate(values, start=1)},
        }
        for number, (item, values) in enumerate(
            zip(comparison.items, comparison.matrix.tolist(), strict=True), start=1
        )
    ]


def picture(comparison: Comparison, path: Path) -> bytes:
    """Return the vectors as a picture in the format of a path's ending.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    from llmkit.embeddings.picture import drawn_points

    labels = [f"{number} {shown(item, comparison)}" for number, item in enumerate(comparison.items, start=1)]
    return drawn_points(_projected(comparison), labels, f"Vectors, {comparison.measure}", path)


def _projected(comparison: Comparison) -> Projection:
    """Return the vectors as points; those of a cosine at length 1, so that only their directions count."""
    import numpy

    from llmkit.embeddings.measures import normalized
    from llmkit.embeddings.projection import principal_components

    vectors = numpy.stack([item.vector for item in comparison.items])
    return principal_components(normalized(vectors) if comparison.measure == "cosine" else vectors)


def shown(item: Item, comparison: Comparison) -> str:
    """Return an item in a few words: a text's beginning, or a word with what stands around it."""
    text = comparison.texts[item.text]
    if item.place is None:
        flat = " ".join(text.split())
        return flat if len(flat) <= _LABEL_WIDTH else f"{flat[: _LABEL_WIDTH - 1]}…"
    start, end = item.place
    before, after = text[:start], text[end:]
    head = f"…{before[-_CONTEXT:].lstrip()}" if len(before) > _CONTEXT else before
    tail = f"{after[:_CONTEXT].rstrip()}…" if len(after) > _CONTEXT else after
    return " ".join(f"{head}[{text[start:end]}]{tail}".split())
