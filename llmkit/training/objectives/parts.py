"""A text of any length as samples that a model takes whole: nothing of it is thrown away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.tasks.inputs import RowError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PROBE = "a"


@dataclass(frozen=True, slots=True)
class Cutter:
    """Cuts the token ids of a text into parts.

    Attributes:
        room: most tokens of a part.
        may_cut: whether a longer text is cut; otherwise it is refused.
        before, after: special tokens around each part.
    """

    tokenizer: PreTrainedTokenizerBase
    room: int
    may_cut: bool
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    def parts(self, text: Any) -> list[list[int]]:
        """Return the parts of a text; none for a blank one.

        Raises:
            RowError: it is no text, or it is longer and may not be cut.
        """
        if not isinstance(text, str):
            raise RowError(f"{text!r} is no text")
        if not text.strip():
            return []
        ids = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        body = self.room - len(self.before) - len(self.after)
        if len(ids) > body and not self.may_cut:
            raise RowError(f"{len(ids) + self.room - body:,} tokens, {self.room:,} are allowed")
        return [[*self.before, *ids[start : start + body], *self.after] for start in range(0, len(ids), body)]


def special_tokens_around(tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the special tokens that a tokenizer puts before and behind a text."""
    ids = tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
    whole = tokenizer(_PROBE)["input_ids"]
    for begin in range(len(whole) - len(ids) + 1):
        if whole[begin : begin + len(ids)] == ids:
            return tuple(whole[:begin]), tuple(whole[begin + len(ids) :])
    return (), ()
