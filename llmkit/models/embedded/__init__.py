"""Models that are always there: the encoder all-MiniLM-L6-v2, and adapters on it, a megabyte each."""

from __future__ import annotations

from llmkit.models.embedded.encoder import (
    EMBEDDED_NAME,
    EMBEDDED_TITLE,
    check_encoder,
    embedded_folder,
    has_embedded_encoder,
    measured,
)
from llmkit.models.embedded.policy import EMBEDDED_SETTING, EmbeddedPolicy, embedded_policy
from llmkit.models.embedded.shelf import (
    EmbeddedAdapter,
    adapter_folder,
    embedded_adapter,
    embedded_names,
    read_adapter,
)

__all__ = [
    "EMBEDDED_NAME",
    "EMBEDDED_SETTING",
    "EMBEDDED_TITLE",
    "EmbeddedAdapter",
    "EmbeddedPolicy",
    "adapter_folder",
    "check_encoder",
    "embedded_adapter",
    "embedded_folder",
    "embedded_names",
    "embedded_policy",
    "has_embedded_encoder",
    "measured",
    "read_adapter",
]
