"""The hub's client as llmkit uses it: it asks the hub for models and data, and tells it nothing of its own accord."""

from __future__ import annotations

import os


def turn_off_telemetry() -> None:
    """Keep the client from sending telemetry, unless the user has set the variable; it is read at import.

    With it, the client also asks for nothing of its own: a registry of agents, before the first question, for which a
    silent hub would be given three seconds more.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
