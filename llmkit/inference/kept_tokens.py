"""A window's texts as tokens, made once: for their lengths, and for the pipeline, which would make them again.

Making the tokens of a text three times, and tensors of them one text at a time as tokenizers do, took a tenth of the
time of a classification in bfloat16.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# Pipelines that turn a text into tokens and do nothing else with it.
_PLAIN = ("TextClassificationPipeline",)


class KeptTokens:
    """The tokens of texts for a pipeline.

    Where the pipeline makes something else of a text than its tokens, they are only counted.
    """

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._tokenizer: Any = getattr(pipe, "tokenizer", None)
        self._is_kept = type(pipe).__name__ in _PLAIN
        self._kept: dict[str, dict[str, list[int]]] = {}
        self._one_at_a_time = threading.Lock()  # a tokenizer keeps how it truncates and pads

    def count(self, text: str) -> int:
        """Return how many tokens a text has, special ones left out."""
        if self._is_kept:
            return self.lengths([text])[0] - self._special
        return len(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    @property
    def _special(self) -> int:
        return int(self._tokenizer.num_special_tokens_to_add(pair=False))

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text has, special ones included."""
        if not self._is_kept:
            return [len(ids) for ids in self._tokenizer(list(texts), verbose=False)["input_ids"]]
        unknown = [text for text in dict.fromkeys(texts) if text not in self._kept]
        if unknown:
            columns = self._tokenizer(unknown, verbose=False)
            for number, text in enumerate(unknown):
                self._kept[text] = {name: column[number] for name, column in columns.items()}
        return [len(self._kept[text]["input_ids"]) for text in texts]

    @contextmanager
    def lent(self) -> Iterator[bool]:
        """Let the pipeline take these tokens where it would make the same; tell whether it does.

        It can then work on several threads: what it makes itself, it makes one at a time.
        """
        if not self._kept or "preprocess" in vars(self._pipe):  # somebody else's
            yield False
            return
        self._pipe.preprocess = self._preprocess
        try:
            yield True
        finally:
            del self._pipe.preprocess

    def forget(self) -> None:
        """Let go of all texts."""
        self._kept.clear()

    def _preprocess(self, value: Any, **parameters: Any) -> Any:
        """Return what the model takes, each (1, tokens)."""
        kept = self._kept.get(value) if isinstance(value, str) and not parameters else None
        if kept is None:
            with self._one_at_a_time:
                return type(self._pipe).preprocess(self._pipe, value, **parameters)
        import torch

        return {name: torch.tensor([numbers]) for name, numbers in kept.items()}
