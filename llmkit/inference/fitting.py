"""Texts longer than the model takes: worked through in parts, cut, refused, or left their room to be gone on with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmkit.inference.items import Item, RunSettings
from llmkit.inference.kept_tokens import KeptTokens
from llmkit.inference.long_texts import limit_of, new_tokens, replace_text, share_room, split, truncate
from llmkit.tasks.blanks import check_mask
from llmkit.tasks.catalogue import Long, Task
from llmkit.tasks.inputs import RowError


class Fitting:
    """Makes items fit a pipeline's model.

    Args:
        note: takes each remark for the user.

    Attributes:
        limit: tokens that the model takes, special ones included; None where there is no limit.
        mask: what stands for a blank in a text, for tasks that fill it.
    """

    def __init__(
        self,
        pipe: Any,
        task: Task,
        settings: RunSettings,
        tokens: KeptTokens,
        note: Callable[[str], None],
    ) -> None:
        self._pipe = pipe
        self._task = task
        self._settings = settings
        self._tokens = tokens
        self._note = note
        self.limit = limit_of(pipe, task, settings.max_length)
        self.mask: str | None = pipe.tokenizer.mask_token if task.has_blank else None

    def fitted(self, item: Item) -> list[Item]:
        """Return the item, or the items it is cut into because its text is longer than the model takes.

        Raises:
            RowError: it is longer, and that is refused; or there is no room for what is asked for.
        """
        long, limit = self._settings.long, self.limit
        if limit is None or not item.texts or item.parameters.get("truncation"):
            return [item]
        if self._task.long is Long.LAST:
            return [self._with_room(item, limit)]
        tokenizer = self._pipe.tokenizer
        special = tokenizer.num_special_tokens_to_add(pair=len(item.texts) > 1)
        # A token is at least a byte of ASCII, but for a mark before the first: no need to count those of a short text.
        if sum(map(len, item.texts)) < limit - special and all(text.isascii() for text in item.texts):
            return [item]
        lengths = [self._tokens.count(text) for text in item.texts]
        length = sum(lengths) + special
        if self._task.long is Long.EACH:
            return self._each_fitted(item, max(lengths) + tokenizer.num_special_tokens_to_add(pair=False))
        if length <= limit:
            return [item]
        if long == "error":
            raise RowError(f"the text has {length:,} tokens, {self._what()} takes {limit:,}")
        if self._task.long is Long.NATIVE and long == "chunk":
            return [item]
        can_chunk = self._task.long in (Long.SCORES, Long.SPANS, Long.SECTIONS) and isinstance(
            item.value, str
        )
        if long == "chunk" and can_chunk:
            self._note(
                f"texts of more than {limit:,} tokens are worked through in parts (--long truncate cuts them)"
            )
            return self._pieces(item, item.texts[0], limit)
        if limit - special < len(item.texts):
            raise RowError(
                f"{len(item.texts)} texts and {special} tokens of the model's own are more than {limit}"
            )
        self._note(f"texts of more than {limit:,} tokens are cut to what {self._what()} takes")
        alone = tokenizer.num_special_tokens_to_add(pair=False)
        rooms = share_room(lengths, limit - special)
        shorter = tuple(
            truncate(t, tokenizer, room + alone) for t, room in zip(item.texts, rooms, strict=True)
        )
        for text, short in zip(item.texts, shorter, strict=True):
            item.value = replace_text(item.value, text, short)
        item.texts = shorter
        if self.mask is not None:
            check_mask(item.value, self.mask)
        return [item]

    def _with_room(self, item: Item, limit: int) -> Item:
        """Leave what is generated its room: a model has no positions beyond its last.

        Fewer new tokens where the user named no number of them; else, or where the text fills the model alone,
        its last tokens.
        """
        length = sum(map(self._tokens.count, item.texts))
        if length > limit and self._settings.long == "error":
            raise RowError(f"the text has {length:,} tokens, {self._what()} takes {limit:,}")
        new, is_asked = new_tokens(self._pipe, item.parameters, length)
        if item.parameters.get("max_length"):
            # Older pipelines put their own number of new tokens before it.
            item.parameters.setdefault("max_new_tokens", None)
        if length + new <= limit:
            return item
        if item.parameters.get("max_length") and not item.parameters.get("max_new_tokens"):
            raise RowError(
                f"max_length {item.parameters['max_length']:,} is asked for and the text has {length:,} tokens, "
                f"{self._what()} takes {limit:,} in all"
            )
        if not is_asked and length < limit:
            item.parameters["max_new_tokens"] = limit - length
            return item
        if new >= limit and is_asked:
            raise RowError(
                f"{new:,} new tokens are asked for, and {self._what()} takes {limit:,} with the text"
            )
        if not is_asked:
            item.parameters["max_new_tokens"] = min(new, limit // 2)
        self._note(f"of texts of more than {limit:,} tokens, the last are taken that leave room for new ones")
        item.parameters["handle_long_generation"] = "hole"
        return item

    def _each_fitted(self, item: Item, longest: int) -> list[Item]:
        """Say that sentences are cut, or refuse them; the pipeline itself cuts each to what the model takes."""
        limit = self.limit or longest
        if longest <= limit:
            return [item]
        if self._settings.long == "error":
            raise RowError(f"a sentence has {longest:,} tokens, {self._what()} takes {limit:,}")
        self._note(f"texts of more than {limit:,} tokens are cut to what {self._what()} takes")
        if self._pipe.max_tokens is None or limit < self._pipe.max_tokens:
            for text in item.texts:
                item.value = replace_text(item.value, text, truncate(text, self._pipe.tokenizer, limit))
        return [item]

    def _pieces(self, item: Item, text: str, limit: int) -> list[Item]:
        # With truncation or special parameters of the tokenizer, positions would not be ours to know.
        parameters = dict(item.parameters)
        if self._task.long is Long.SCORES:
            parameters["top_k"] = None
        return [
            Item(item.row_number, piece.text, parameters, (piece.text,), piece)
            for piece in split(text, self._pipe.tokenizer, limit, self._task.long)
        ]

    def _what(self) -> str:
        return "the model" if self._settings.max_length != self.limit else "--max-length"
