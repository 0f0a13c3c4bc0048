"""When an embedded model stands in for a task's default model."""

from __future__ import annotations

import os
from typing import Literal, cast, get_args

from llmkit.errors import UsageError, did_you_mean

EMBEDDED_SETTING = "LLMKIT_EMBEDDED"
EmbeddedPolicy = Literal["never", "fallback", "always"]


def embedded_policy() -> EmbeddedPolicy:
    """Return when an embedded model stands in for a default model, as LLMKIT_EMBEDDED says.

    Raises:
        UsageError: the setting is none of never, fallback, always.
    """
    setting = os.environ.get(EMBEDDED_SETTING, "").strip().lower() or "fallback"
    known = get_args(EmbeddedPolicy)
    if setting not in known:
        hint = did_you_mean(setting, known) or f"It is one of: {', '.join(known)}."
        raise UsageError(f"{EMBEDDED_SETTING} is '{setting}'.", hint=hint)
    return cast(EmbeddedPolicy, setting)
