"""A text made ready for a model that shows its attention, and refused where it is too long to be shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import DataError, UsageError
from llmkit.insight.labels import readable_tokens
from llmkit.models.tokenizing import token_limit
from llmkit.tasks.blanks import marked_blanks

if TYPE_CHECKING:
    import torch

MOST_CHARACTERS = 1_000_000
MOST_TOKENS = 1024
MOST_WEIGHTS = 1 << 28
"""Of one kind of attention: a gibibyte in float32."""


@dataclass(frozen=True, slots=True)
class Side:
    """The tokens along one side of a matrix.

    Attributes:
        tokens: as the vocabulary has them.
        labels: as a person reads them.
        segments: 0 or 1 for the first or second text; None where the model does not tell them apart.
    """

    tokens: list[str]
    labels: list[str]
    ids: list[int]
    segments: list[int] | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class PreparedText:
    """A text as a model reads it.

    Attributes:
        inputs: arguments of the model's forward, (1, sequence) each.
    """

    text: str
    pair: str | None
    side: Side
    inputs: dict[str, torch.Tensor]


def check_texts(text: str, pair: str | None) -> None:
    """Refuse what no model need be found for.

    Raises:
        DataError: a text is empty.
        UsageError: it is too long for all that can be shown.
    """
    for what, each in (("the text", text), ("--text-pair", pair)):
        if each is not None and not each.strip():
            raise DataError(f"{what} is empty.")
        if each is not None and len(each) > MOST_CHARACTERS:
            raise UsageError(
                f"{what} has {len(each):,} characters; at most {MOST_TOKENS:,} tokens are shown.",
                hint="Take a sentence or a paragraph of it.",
            )


def prepare_text(tokenizer: Any, config: Any, name: str, text: str, pair: str | None) -> PreparedText:
    """Tokenize a text, or two that the model reads together; ___ becomes the mask of a model that has one.

    Raises:
        DataError: a text has no tokens.
        UsageError: there are more tokens than the model takes, or than can be shown.
    """
    mask = getattr(tokenizer, "mask_token", None)
    given = [each if mask is None else marked_blanks(each, mask) for each in (text, pair) if each is not None]
    encoded = tokenizer(*given, padding=False, truncation=False, return_tensors="pt", verbose=False)
    ids = encoded["input_ids"][0].tolist()
    if not ids:
        raise DataError("the text has no tokens.")
    _check_length(len(ids), config, tokenizer, name)
    segments = encoded["token_type_ids"][0].tolist() if "token_type_ids" in encoded else None
    return PreparedText(text, pair, side_of(tokenizer, ids, segments), dict(encoded))


def side_of(tokenizer: Any, ids: Sequence[int], segments: list[int] | None = None) -> Side:
    """Return token ids as one side of a matrix."""
    tokens = [str(each) for each in tokenizer.convert_ids_to_tokens(list(ids))]
    return Side(tokens, readable_tokens(tokenizer, tokens), list(ids), segments)


def _check_length(count: int, config: Any, tokenizer: Any, name: str) -> None:
    inner = config.get_text_config()
    limit = token_limit(inner, tokenizer)
    if limit is not None and count > limit:
        raise UsageError(
            f"the text has {count:,} tokens, and {name} takes {limit:,}.", hint="Take a part of it."
        )
    layers, heads = (getattr(inner, each, None) for each in ("num_hidden_layers", "num_attention_heads"))
    matrices = layers * heads if isinstance(layers, int) and isinstance(heads, int) else 1
    most = min(MOST_TOKENS, math.isqrt(MOST_WEIGHTS // max(matrices, 1)))
    if count > most:
        raise UsageError(
            f"the text has {count:,} tokens; of {name} at most {most:,} are shown: "
            "the weights grow with their square.",
            hint="Take a sentence or a paragraph of it.",
        )
