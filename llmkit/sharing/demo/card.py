"""The card of a model, wherever the model is: text for a page, and the metadata at its head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmkit.errors import LlmkitError
from llmkit.models.embedded.shelf import embedded_adapter
from llmkit.models.resolved import ResolvedModel
from llmkit.sharing.card import split_card
from llmkit.sharing.contents import CARD

_MOST_BYTES = 1 << 20


def card_of_model(model: ResolvedModel) -> tuple[dict[str, Any], str]:
    """Return the metadata and the text of a model's card; ({}, "") where it has none that can be read."""
    if model.embedded:
        return {}, _embedded_card(model)
    folder = model.adapter or (model.location if model.is_local else None)
    path = Path(folder, CARD) if folder is not None else _fetched(model)
    if path is None or not path.is_file():
        return {}, ""
    with path.open("rb") as file:
        text = file.read(_MOST_BYTES).decode(errors="replace")
    try:
        metadata, body = split_card(text)
    except LlmkitError:  # its head is damaged: the text can be read all the same
        return {}, text
    return metadata, body.strip()


def _fetched(model: ResolvedModel) -> Path | None:
    """Return the card of a model of the hub, from the cache where it is there; None where it cannot be had."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(
            hf_hub_download(model.location, CARD, revision=model.revision, local_files_only=model.cached_only)
        )
    except Exception:  # a page does without a card: that a model can be had was seen before
        return None


def _embedded_card(model: ResolvedModel) -> str:
    if model.adapter is None:
        return "The encoder all-MiniLM-L6-v2 (22.7M parameters), which comes with the extra `offline`."
    adapter = embedded_adapter(Path(model.adapter).name)
    data = adapter.card.get("data") or {}
    lines = [f"{adapter.title}.", f"Trained on {data['source']}." if data.get("source") else ""]
    return "\n\n".join(line for line in lines if line)
