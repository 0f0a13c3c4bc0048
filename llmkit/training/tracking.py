"""Trackers: tensorboard, wandb, mlflow and trackio, through accelerate."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from llmkit.errors import UsageError


def check_trackers(names: Sequence[str]) -> None:
    """Check that the trackers are installed.

    Raises:
        UsageError: one is not.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"trackers: {name} is not installed.", hint=f"Install it: pip install {name}")


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as ``{"training.seed": 42}``, of the types that every tracker takes."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            found |= flat(value, f"{name}.")
        else:
            found[name] = value if isinstance(value, bool | int | float | str) else str(value)
    return found
