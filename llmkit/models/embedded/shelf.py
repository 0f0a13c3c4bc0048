"""The adapters that come with llmkit, each in a folder of its own beside its card."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.errors import ModelError, unknown
from llmkit.models.embedded.encoder import EMBEDDED_NAME, EMBEDDED_TITLE, digest
from llmkit.models.local_folder import ADAPTER_WEIGHTS, check_safetensors

CARD = "card.json"
_SHELF = Path(__file__).parent
_FILES = (ADAPTER_WEIGHTS, "adapter_config.json", "config.json", "config.yaml")


@dataclass(frozen=True, slots=True)
class EmbeddedAdapter:
    """An adapter and the head beside it, on the embedded encoder.

    Attributes:
        folder: with the adapter as peft writes it, the model's config, and the config of its run.
        card: what it was made of and how good it is.
    """

    name: str
    folder: Path
    card: dict[str, Any]

    @property
    def full_name(self) -> str:
        """How it is named on a command line: ``minilm:sentiment``."""
        return f"{EMBEDDED_NAME}:{self.name}"

    @property
    def quality(self) -> str:
        """The measured figure, for a note: ``accuracy 0.88 on 1,821 reviews of SST-2's test set``."""
        metric = self.card["metric"]
        return f"{metric['title']} {metric['value']:{metric['format']}} on {metric['on']}"

    @property
    def title(self) -> str:
        """What it is, for a note."""
        return f"{EMBEDDED_TITLE} with the adapter {self.name} ({self.quality})"

    def check(self) -> None:
        """Check that its files are those of the release.

        Raises:
            ModelError: one is missing or damaged.
        """
        for name in _FILES:
            file = self.folder / name
            if not file.is_file():
                raise ModelError(f"the embedded adapter '{self.name}' has no {name}.", hint=_INSTALL_AGAIN)
        check_safetensors(self.folder / ADAPTER_WEIGHTS, self.full_name)
        for name in _FILES:
            if digest(self.folder / name) != self.card["sha256"][name]:
                raise ModelError(
                    f"{name} of the embedded adapter '{self.name}' is not the one of this release: "
                    "it was changed or damaged.",
                    hint=_INSTALL_AGAIN,
                )


_REMEDY = "install llmkit again: pip install --force-reinstall --no-deps hf-llmkit"
_INSTALL_AGAIN = _REMEDY.capitalize()


def embedded_names() -> list[str]:
    """Return the names of the adapters that are here, also of damaged ones."""
    return sorted({file.parent.name for name in (*_FILES, CARD) for file in _SHELF.glob(f"*/{name}")})


def adapter_folder(name: str) -> Path:
    """Return where the files of an adapter are."""
    return _SHELF / name


def embedded_adapter(name: str) -> EmbeddedAdapter:
    """Return an adapter, its files checked.

    Raises:
        ModelError: there is none of that name, or it is damaged.
    """
    if name not in (known := embedded_names()):
        named = ", ".join(f"{EMBEDDED_NAME}:{each}" for each in known) or "none"
        hint = f"There are: {named}. If one is missing, {_REMEDY}"
        raise unknown("embedded adapter", name, known, hint=hint, kind=ModelError)
    found = read_adapter(name)
    found.check()
    return found


def read_adapter(name: str) -> EmbeddedAdapter:
    """Return an adapter by its card; what the card tells of its files is not checked.

    Raises:
        ModelError: the card is damaged or missing.
    """
    card = adapter_folder(name) / CARD
    if not card.is_file():
        raise ModelError(f"the embedded adapter '{name}' has no {CARD}.", hint=_INSTALL_AGAIN)
    try:
        values = json.loads(card.read_bytes())
        metric = values["metric"]
        found = EmbeddedAdapter(name, card.parent, values)
        whole = all(part in metric for part in ("title", "value", "format", "on")) and bool(found.quality)
        whole = whole and {*_FILES} <= values["sha256"].keys() and bool(values["base"]["sha256"])
        whole = whole and {"source", "licence"} <= values["data"].keys()
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise ModelError(f"the card of the embedded adapter '{name}' is damaged.", hint=_INSTALL_AGAIN)
    return found
