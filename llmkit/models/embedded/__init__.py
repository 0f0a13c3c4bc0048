"""Models that are always there: the encoder all-MiniLM-L6-v2, and adapters on it, a megabyte each."""

from __future__ import annotations

from llmkit.models.embedded.encoder import (
    EMBEDDED_NAME,
    EMBEDDED_TITLE,
    MEASURED,
    check_encoder,
    check_package,
    embedded_folder,
    has_embedded_encoder,
)
from llmkit.models.embedded.policy import EMBEDDED_SETTING, EmbeddedPolicy, embedded_policy
from llmkit.models.embedded.shelf import (
    EmbeddedAdapter,
    embedded_adapter,
    embedded_adapters,
    has_embedded_adapter,
)

__all__ = [
    "EMBEDDED_NAME",
    "EMBEDDED_SETTING",
    "EMBEDDED_TITLE",
    "MEASURED",
    "EmbeddedAdapter",
    "EmbeddedPolicy",
    "check_encoder",
    "check_package",
    "embedded_adapter",
    "embedded_adapters",
    "embedded_folder",
    "embedded_policy",
    "has_embedded_adapter",
    "has_embedded_encoder",
]
