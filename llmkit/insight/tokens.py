"""What tokenizers make of texts: tokens, ids, places, and how many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llmkit.models.pooling import read_pooling
from llmkit.models.resolved import ResolvedModel
from llmkit.models.tokenizing import load_tokenizer, token_limit

TASK = "tokenize"


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """A text in tokens.

    Attributes:
        tokens: as the vocabulary has them.
        offsets: where each stands in the text, in characters; None where the tokenizer does not say.
        special: whether the tokenizer added it.
    """

    tokens: list[str]
    ids: list[int]
    offsets: list[tuple[int, int]] | None
    special: list[bool]


@dataclass(frozen=True, slots=True)
class ModelTokenizer:
    """A model's tokenizer.

    Attributes:
        name: of the model, as the user knows it.
        limit: tokens that the model takes, special ones included; None for any number.
    """

    name: str
    tokenizer: Any
    limit: int | None

    def tokenize(self, texts: Sequence[str], *, special: bool = True) -> list[TokenizedText]:
        """Return each text's tokens.

        Args:
            special: with those that the tokenizer adds.
        """
        is_fast = self.tokenizer.is_fast
        encoded = self._encoded(
            texts, special, return_offsets_mapping=is_fast, return_special_tokens_mask=True
        )
        found: list[TokenizedText] = []
        for number, ids in enumerate(encoded["input_ids"]):
            offsets = [tuple(each) for each in encoded["offset_mapping"][number]] if is_fast else None
            added = [bool(each) for each in encoded["special_tokens_mask"][number]]
            found.append(TokenizedText(self.tokenizer.convert_ids_to_tokens(ids), list(ids), offsets, added))
        return found

    def count(self, texts: Sequence[str], *, special: bool = True) -> list[int]:
        """Return how many tokens each text has."""
        return [len(ids) for ids in self._encoded(texts, special)["input_ids"]]

    def _encoded(self, texts: Sequence[str], special: bool, **asked: bool) -> Any:
        """Return what the tokenizer makes of whole texts, as it is, with what else is asked for."""
        return self.tokenizer(
            list(texts),
            add_special_tokens=special,
            padding=False,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
            **asked,
        )


def load_model_tokenizer(resolved: ResolvedModel) -> ModelTokenizer:
    """Load a model's tokenizer, and read from its config how long its texts may be; no weights are needed.

    Raises:
        ModelError, HubError: as of `load_tokenizer`.
    """
    from transformers import AutoConfig

    tokenizer = load_tokenizer(resolved, TASK)
    try:
        config = AutoConfig.from_pretrained(resolved.location, **resolved.origin).get_text_config()
    except (OSError, ValueError):  # a tokenizer alone: its own limit is all there is
        config = None
    # What a model's own files say of its sentences holds for its vectors: `llmkit embed` cuts there too.
    limits = (token_limit(config, tokenizer), read_pooling(resolved.location, resolved.revision).max_tokens)
    return ModelTokenizer(resolved.name, tokenizer, min((each for each in limits if each), default=None))


@dataclass
class TokenCounts:
    """How many tokens many texts have: exact, in the memory of their different lengths.

    Attributes:
        limit: tokens that the model takes; None for any number.
    """

    limit: int | None
    _lengths: Counter[int] = field(default_factory=Counter)

    def add(self, counts: Sequence[int]) -> None:
        """Add texts by their numbers of tokens."""
        self._lengths.update(counts)

    def summary(self) -> dict[str, Any]:
        """Return rows, tokens, mean, median, 95th percentile, longest, and how many are longer than the model takes.

        The percentiles are of the nearest rank: numbers that some text has.
        """
        rows = self._lengths.total()
        tokens = sum(length * number for length, number in self._lengths.items())
        longer = (
            None
            if self.limit is None
            else sum(number for length, number in self._lengths.items() if length > self.limit)
        )
        return {
            "rows": rows,
            "tokens": tokens,
            "mean": tokens / rows if rows else 0.0,
            "median": self._percentile(50),
            "p95": self._percentile(95),
            "max": max(self._lengths, default=0),
            "limit": self.limit,
            "longer": longer,
            "share_longer": None if longer is None else longer / rows if rows else 0.0,
        }

    def _percentile(self, percent: int) -> int:
        rank = -(-percent * self._lengths.total() // 100)
        seen = 0
        for length in sorted(self._lengths):
            seen += self._lengths[length]
            if seen >= rank:
                return length
        return 0
