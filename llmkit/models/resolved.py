"""A model that was found: what ``from_pretrained`` is given to load it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model that can be loaded: `location` and `revision` are what ``from_pretrained`` is given.

    `name` is how it is called to the user; `note` is a line for standard error; `cached_only` keeps the
    client from asking a hub that does not answer; `weights_revision` is where the weights lie when they are not
    where the rest is.
    """

    name: str
    location: str
    revision: str | None = None
    embedded: bool = False
    note: str | None = None
    cached_only: bool = False
    weights_revision: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether the files lie in a folder, so that no hub is asked while loading."""
        return self.embedded or Path(self.location).is_dir()

    def __str__(self) -> str:
        return f"'{self.name}'" if self.revision is None else f"'{self.name}' at revision '{self.revision}'"
