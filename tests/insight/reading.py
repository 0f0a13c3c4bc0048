"""A tiny model read as `llmkit attention` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmkit.insight.attention import Reading, load_eager_model, read_text
from llmkit.insight.explaining import Explanation, Where, explain
from llmkit.insight.prepared import PreparedText, prepare_text
from llmkit.models.loading import LoadOptions
from llmkit.models.resolving import resolve_model
from llmkit.models.tokenizing import load_tokenizer


@dataclass
class Opened:
    """A model and its tokenizer."""

    name: str
    model: Any
    tokenizer: Any

    def prepare(self, text: str, pair: str | None = None) -> PreparedText:
        return prepare_text(self.tokenizer, self.model.config, self.name, text, pair)

    def read(self, text: str, pair: str | None = None) -> Reading:
        return read_text(self.model, self.tokenizer, self.prepare(text, pair), self.name)

    def explain(
        self,
        text: str,
        token: str,
        *,
        layer: int = 1,
        head: int = 1,
        kind: str | None = None,
        pair: str | None = None,
    ) -> Explanation:
        where = Where(token, kind, str(layer), str(head))
        return explain(self.model, self.tokenizer, self.prepare(text, pair), where, self.name)


def opened(name: str) -> Opened:
    """Open a model by its name or folder."""
    resolved = resolve_model(name)
    return Opened(name, load_eager_model(resolved, LoadOptions("cpu")), load_tokenizer(resolved, "attention"))
