"""How what was found looks on a terminal: a table a query."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from llmkit.cli.channels import ResultStream
from llmkit.cli.drawing import rendered

_TEXT_WIDTH = 200


class Hit(TypedDict):
    """What was found for a query: its rank from 1, its row from 0, and its text where that is known."""

    query: str
    rank: int
    score: float
    row: int
    text: NotRequired[str | None]


class SearchTable:
    """Draws the hits of each query as a table."""

    def __init__(self, results: ResultStream) -> None:
        self._results = results
        self._waiting: dict[str, list[dict[str, Any]]] = {}

    def write(self, value: dict[str, Any], index: int, label: str = "") -> None:
        self._waiting.setdefault(label, []).append(value)

    def reject(self, row: dict[str, Any]) -> None:
        pass

    def commit(self, rows_done: int) -> None:
        for query, hits in self._waiting.items():
            for drawing in (f"\n{query}", _hits_table(hits)):
                self._results.file.write(rendered(drawing, self._results))
        self._results.file.flush()
        self._waiting = {}

    def close(self, *, finished: bool) -> None:
        self.commit(0)


def _hits_table(hits: list[dict[str, Any]]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    names = [name for name in dict.fromkeys(name for hit in hits for name in hit) if name != "query"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in names:
        is_number = name in ("rank", "score", "row")
        table.add_column(
            Text(name), justify="right" if is_number else "left", no_wrap=is_number, overflow="fold"
        )
    for hit in hits:
        table.add_row(*(Text(_cell(hit.get(name))) for name in names))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.4f}" if isinstance(value, float) else " ".join(str(value).split())
    return text if len(text) <= _TEXT_WIDTH else f"{text[: _TEXT_WIDTH - 1]}…"
