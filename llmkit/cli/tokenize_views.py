"""How tokens look: in lines of JSON and CSV, and on a terminal, one model or several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NotRequired

from typing_extensions import TypedDict

from llmkit.cli.channels import ResultStream
from llmkit.cli.drawing import rendered
from llmkit.cli.printable import shortened
from llmkit.data.formats import TABLE

if TYPE_CHECKING:
    from rich.table import Table

    from llmkit.insight.tokens import ModelTokenizer, TokenizedText

_TABLE_FORMATS = ("csv", "tsv")


class Tokens(TypedDict):
    """A text's tokens: `offsets` are characters, `special` what the tokenizer added."""

    tokens: list[str]
    ids: list[int]
    offsets: NotRequired[list[list[int]]]
    special: list[bool]
    token_count: int


class TokensOfText(Tokens):
    """A text with its tokens."""

    text: str


class TokensOfModel(Tokens):
    """What one of several models makes of a text."""

    model: str


class SideBySide(TypedDict):
    """What several models make of a text."""

    text: str
    models: list[TokensOfModel]


class Count(TypedDict):
    """How many tokens there are in all (--count): a text's mean, median, 95th percentile and most.

    `longer` texts than `limit` are cut by the model; both are null for a model without a limit.
    """

    model: str
    rows: int
    tokens: int
    mean: float
    median: int
    p95: int
    max: int
    limit: int | None
    longer: int | None
    share_longer: float | None


TOKENIZED = TokensOfText | SideBySide | Count


def described(
    text: str, tokenizers: Sequence[ModelTokenizer], found: Sequence[TokenizedText], format_name: str
) -> Any:
    """Return what a format takes for one text: an object, a list of those of several models, or a row a token."""
    if format_name in _TABLE_FORMATS:
        return [
            {**({"model": model.name} if len(tokenizers) > 1 else {}), **row}
            for model, tokens in zip(tokenizers, found, strict=True)
            for row in _token_rows(text, tokens)
        ]
    if format_name != TABLE and len(tokenizers) == 1:
        return {"text": text, **_fields(found[0])}
    return {
        "text": text,
        "models": [
            {"model": model.name, **_fields(tokens)} for model, tokens in zip(tokenizers, found, strict=True)
        ],
    }


def _fields(tokens: TokenizedText) -> dict[str, Any]:
    offsets = {} if tokens.offsets is None else {"offsets": [list(each) for each in tokens.offsets]}
    return {
        "tokens": tokens.tokens,
        "ids": tokens.ids,
        **offsets,
        "special": tokens.special,
        "token_count": len(tokens.ids),
    }


def _token_rows(text: str, tokens: TokenizedText) -> list[dict[str, Any]]:
    return [
        {
            "token": token,
            "id": tokens.ids[number],
            **(
                {}
                if tokens.offsets is None
                else {"start": tokens.offsets[number][0], "end": tokens.offsets[number][1]}
            ),
            "special": tokens.special[number],
        }
        for number, token in enumerate(tokens.tokens)
    ]


class TokenTable:
    """Shows each text's tokens, a row a token; several models have a column each."""

    def __init__(self, results: ResultStream) -> None:
        self._results = results
        self._waiting: list[dict[str, Any]] = []

    def write(self, value: dict[str, Any], index: int, label: str = "") -> None:
        self._waiting.append(value)

    def reject(self, row: dict[str, Any]) -> None:
        pass

    def commit(self, rows_done: int) -> None:
        for value in self._waiting:
            several = len(value["models"]) > 1
            table = (
                _side_by_side(value["models"]) if several else _one_model(value["text"], value["models"][0])
            )
            for drawing in (shortened(value["text"], 76), table):
                self._results.file.write(rendered(drawing, self._results))
        self._results.file.flush()
        self._waiting = []

    def close(self, *, finished: bool) -> None:
        self.commit(0)


def _new_table() -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)


def _one_model(text: str, found: dict[str, Any]) -> Table:
    from rich.text import Text

    table = _new_table()
    table.add_column("", justify="right")
    table.add_column("token", footer=f"{found['token_count']:,} tokens")
    table.add_column("id", justify="right")
    table.add_column("characters")
    table.add_column("text")
    offsets = found.get("offsets") or [[0, 0]] * found["token_count"]
    for number, (token, (start, end)) in enumerate(zip(found["tokens"], offsets, strict=True)):
        special = found["special"][number]
        place = "special" if special else f"{start}–{end}" if end > start else ""
        shown = "" if special else text[start:end]
        table.add_row(*map(Text, (str(number), token, str(found["ids"][number]), place, shown)))
    return table


def _side_by_side(models: Sequence[dict[str, Any]]) -> Table:
    from rich.text import Text

    table = _new_table()
    table.add_column("", justify="right")
    for each in models:
        table.add_column(Text(each["model"]), footer=f"{each['token_count']:,} tokens", overflow="fold")
    for number in range(max(each["token_count"] for each in models)):
        cells = (
            f"{each['tokens'][number]} {each['ids'][number]}" if number < each["token_count"] else ""
            for each in models
        )
        table.add_row(*map(Text, (str(number), *cells)))
    return table


class CountTable:
    """Shows how many tokens there are, a row a model."""

    def __init__(self, results: ResultStream) -> None:
        self._results = results
        self._rows: list[dict[str, Any]] = []

    def write(self, value: dict[str, Any], index: int, label: str = "") -> None:
        self._rows.append(value)

    def reject(self, row: dict[str, Any]) -> None:
        pass

    def commit(self, rows_done: int) -> None:
        pass

    def close(self, *, finished: bool) -> None:
        if not finished:
            return
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("model", "rows", "tokens", "mean", "median", "p95", "max", "limit", "longer"):
            table.add_column(name, justify="left" if name == "model" else "right")
        for row in self._rows:
            limit, longer = row["limit"], row["longer"]
            table.add_row(
                Text(row["model"]),
                *(f"{row[name]:,}" for name in ("rows", "tokens")),
                f"{row['mean']:,.1f}",
                *(f"{row[name]:,}" for name in ("median", "p95", "max")),
                "none" if limit is None else f"{limit:,}",
                "" if longer is None else f"{longer:,} ({row['share_longer']:.1%})",
            )
        self._results.file.write(rendered(table, self._results))
        self._results.file.flush()
