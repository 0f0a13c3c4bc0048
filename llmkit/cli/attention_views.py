"""How weights of attention look to a program, and in tables of Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NotRequired

from typing_extensions import TypedDict

from llmkit.cli.embed_views import floats
from llmkit.cli.sheets import Column, Sheet

if TYPE_CHECKING:
    from llmkit.insight.attention import AttentionWeights, Reading
    from llmkit.insight.predictions import Prediction as FoundPrediction

_MOST_CANDIDATES = 10
Kind = Literal["encoder", "decoder", "cross"]


class Weights(TypedDict):
    """Weights of one kind of attention: (layers, heads, query, key), each row summing to 1."""

    is_causal: bool
    layers: list[int]
    heads: list[int | str]
    query_tokens: list[str]
    key_tokens: list[str]
    weights: list[list[list[list[float]]]]


class Expected(TypedDict):
    """A token that a model expects at some place."""

    token: str | None
    id: int
    probability: float


class Prediction(TypedDict):
    """What a model expects in a blank, or after the token at `position`, counted from 0."""

    position: int
    is_blank: bool
    candidates: list[Expected]


class Attended(TypedDict):
    """What each token of a text attends to."""

    model: str
    text: str
    text_pair: NotRequired[str]
    attention: dict[Kind, Weights]
    predictions: list[Prediction]


_CANDIDATES_SHOWN = 5


def reading_object(reading: Reading, kinds: Sequence[AttentionWeights]) -> dict[str, Any]:
    """Return a text's weights as one object; `weights` is (layers, heads, query, key)."""
    pair = {} if reading.pair is None else {"text_pair": reading.pair}
    return {
        "model": reading.model,
        "text": reading.text,
        **pair,
        "attention": {
            each.kind: {
                "is_causal": each.is_causal,
                "layers": list(each.layers),
                "heads": list(each.heads),
                "query_tokens": each.queries.tokens,
                "key_tokens": each.keys.tokens,
                "weights": floats(each.weights),
            }
            for each in kinds
        },
        "predictions": [_prediction_object(each) for each in reading.predictions],
    }


def _prediction_object(prediction: FoundPrediction) -> dict[str, Any]:
    return {
        "position": prediction.position,
        "is_blank": prediction.is_blank,
        "candidates": [
            {"token": each.token, "id": each.id, "probability": each.probability}
            for each in prediction.top(_MOST_CANDIDATES)
        ],
    }


def weight_rows(kinds: Sequence[AttentionWeights]) -> Iterator[Mapping[str, Any]]:
    """Go through the weights as rows of one table, a row a weight; tokens are numbered from 1."""
    for each in kinds:
        for layer, heads in zip(each.layers, each.weights, strict=True):
            for head, matrix in zip(each.heads, heads, strict=True):
                for query, row in enumerate(floats(matrix)):
                    for key, weight in enumerate(row):
                        yield {
                            "which": each.kind,
                            "layer": layer,
                            "head": head,
                            "query": query + 1,
                            "query_token": each.queries.tokens[query],
                            "key": key + 1,
                            "key_token": each.keys.tokens[key],
                            "weight": weight,
                        }


def matrices(kinds: Sequence[AttentionWeights], model: str) -> Iterator[tuple[str, AttentionWeights, Any]]:
    """Go through the single matrices, each with its title; (query, key)."""
    for each in kinds:
        for layer, heads in zip(each.layers, each.weights, strict=True):
            for head, matrix in zip(each.heads, heads, strict=True):
                name = f"{head} over heads" if isinstance(head, str) else f"head {head}"
                direction = (
                    "from decoder (rows) to encoder"
                    if each.kind == "cross"
                    else "causal"
                    if each.is_causal
                    else "bidirectional"
                )
                yield f"{each.kind} attention, layer {layer}, {name}, {direction} ({model})", each, matrix


def weight_sheets(reading: Reading, kinds: Sequence[AttentionWeights]) -> list[Sheet]:
    """Return each matrix as a table whose rows end with their sum."""
    sheets = [
        Sheet(
            title,
            (
                Column(""),
                *(
                    Column(f"{place} {label}", is_number=True)
                    for place, label in enumerate(each.keys.labels, 1)
                ),
                Column("sum", is_number=True),
            ),
            tuple(
                (f"{place} {label}", *(f"{value:.3f}" for value in row), f"{sum(row):.3f}")
                for place, (label, row) in enumerate(
                    zip(each.queries.labels, matrix.tolist(), strict=True), start=1
                )
            ),
            is_comparison=True,
        )
        for title, each, matrix in matrices(kinds, reading.model)
    ]
    notes = tuple(prediction_notes(reading))
    return [*sheets, *([Sheet("predictions", notes=notes)] if notes else [])]


def prediction_notes(reading: Reading) -> Iterator[str]:
    """Go through what a language model expects, in a line each."""
    for each in reading.predictions:
        what = f"Blank #{each.position + 1}" if each.is_blank else "Next token"
        best = (f"{found.label} {found.probability:.3f}" for found in each.top(_CANDIDATES_SHOWN))
        yield f"{what}: {', '.join(best)}"
