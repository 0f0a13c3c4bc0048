"""A model that was found: what ``from_pretrained`` is given to load it."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@functools.cache
def _tell(note: str) -> None:
    logging.getLogger("llmkit").warning(note)


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model that can be loaded: `location` and `revision` are what ``from_pretrained`` is given.

    `name` is how it is called to the user; `note` is a line for standard error; `cached_only` keeps the
    client from asking a hub that does not answer. `weights_revision` is where the weights lie when they are not
    where the rest is. `adapter` is a folder with an adapter that is added to the weights in `location`; `weights`
    is the one file there to take, a safetensors or a GGUF file.
    """

    name: str
    location: str
    revision: str | None = None
    embedded: bool = False
    note: str | None = None
    cached_only: bool = False
    weights_revision: str | None = None
    adapter: str | None = None
    weights: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether the files lie in a folder, so that no hub is asked while loading."""
        return self.embedded or Path(self.location).is_dir()

    @property
    def is_gguf(self) -> bool:
        """Whether config, tokenizer and weights are all in one GGUF file."""
        return self.weights is not None and self.weights.lower().endswith(".gguf")

    @property
    def origin(self) -> dict[str, Any]:
        """The arguments of every ``from_pretrained`` that say where a model's files are."""
        arguments: dict[str, Any] = {"revision": self.revision, "local_files_only": self.cached_only}
        return {**arguments, "gguf_file": self.weights} if self.is_gguf else arguments

    @property
    def origin_of_weights(self) -> dict[str, Any]:
        """The same for the weights, which may lie at a revision of their own."""
        return {**self.origin, "revision": self.weights_revision or self.revision}

    @property
    def beside(self) -> str:
        """Where the tokenizer and the like are: with an adapter that has its own, there."""
        own = self.adapter is not None and Path(self.adapter, "tokenizer_config.json").is_file()
        return str(self.adapter) if own else self.location

    def tell(self) -> None:
        """Tell a Python program's user the note, once for each model: on standard error, if logging is not set up."""
        if self.note:
            _tell(self.note)

    def __str__(self) -> str:
        return f"'{self.name}'" if self.revision is None else f"'{self.name}' at revision '{self.revision}'"
