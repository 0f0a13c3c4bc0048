"""From texts to token ids, with where each token stands in the text, cut to what the model takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmkit.errors import ModelError
from llmkit.tasks.inputs import RowError
from llmkit.wanted import should_be

Offsets = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Piece:
    """What goes through the model at once: a text, or a part of one that is too long.

    Attributes:
        ids: token ids, special tokens included.
        offsets: where each token stands in the text, in characters; empty where nobody asked.
        special: whether each token was added by the tokenizer; empty where nobody asked.
    """

    ids: list[int]
    offsets: Offsets
    special: list[bool]


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """A text as its pieces.

    Attributes:
        tokens: of the whole text, special ones included.
        cut: how many of them no piece has.
    """

    pieces: list[Piece]
    tokens: int
    cut: int = 0


@dataclass(frozen=True, slots=True)
class TextTokenizer:
    """Tokenizes texts for one model.

    Attributes:
        limit: tokens a piece may have, special ones included; None for any number.
        long: truncate, split-mean or error, as of `EmbedSettings`.
        prompt: put before each text.
        has_offsets: say where the tokens stand.
    """

    tokenizer: Any
    limit: int | None
    long: str = "truncate"
    prompt: str = ""
    has_offsets: bool = False

    def __post_init__(self) -> None:
        name = type(self.tokenizer).__name__
        if self.has_offsets and not self.tokenizer.is_fast:
            raise ModelError(
                f"the tokenizer of this model ({name}) does not say where tokens stand.",
                hint="Token and word vectors need a model with a tokenizer.json.",
            )
        if self.long == "split-mean" and not self.tokenizer.is_fast:
            raise ModelError(
                f"the tokenizer of this model ({name}) does not split long texts.",
                hint="--long split-mean needs a model with a tokenizer.json.",
            )
        added = self.tokenizer.num_special_tokens_to_add()
        if self.limit is not None and self.limit <= added:
            raise should_be(
                f"--max-length {self.limit}",
                f"{added + 1} or more",
                hint=f"The model adds {added} tokens of its own.",
            )

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText | RowError]:
        """Return each text's tokens, or why it has none."""
        encodings = self._encode(texts)
        return [self._fitted(text, encodings, index) for index, text in enumerate(texts)]

    def _encode(self, texts: Sequence[str], **more: Any) -> Any:
        return self.tokenizer(
            [self.prompt + text for text in texts],
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=self.has_offsets,
            return_special_tokens_mask=self.has_offsets,
            verbose=False,
            **{"truncation": False, **more},
        )

    def _fitted(self, text: str, encodings: Any, index: int) -> TokenizedText | RowError:
        piece = self._piece(encodings, index, len(text))
        count = len(piece.ids)
        if not count:
            return RowError("the text has no tokens")
        if self.limit is None or count <= self.limit:
            return TokenizedText([piece], count)
        if self.long == "error":
            return RowError(f"{count:,} tokens, the model takes {self.limit:,}")
        is_split = self.long == "split-mean"
        cut = self._encode(
            [text], truncation=True, max_length=self.limit, return_overflowing_tokens=is_split, stride=0
        )
        pieces = [self._piece(cut, number, len(text)) for number in range(len(cut["input_ids"]))]
        return TokenizedText(pieces, count, 0 if is_split else count - len(pieces[0].ids))

    def _piece(self, encodings: Any, index: int, length: int) -> Piece:
        ids = list(encodings["input_ids"][index])
        if not self.has_offsets:
            return Piece(ids, [], [])
        shift = len(self.prompt)
        offsets = [
            (min(max(start - shift, 0), length), min(max(end - shift, 0), length))
            for start, end in encodings["offset_mapping"][index]
        ]
        return Piece(ids, offsets, [bool(each) for each in encodings["special_tokens_mask"][index]])
