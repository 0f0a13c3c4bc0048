"""Trackers: tensorboard, wandb, mlflow and trackio, through accelerate."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmkit.errors import UsageError
from llmkit.training.state import name_of

_PROJECT = "llmkit"
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+(?=@)|\bhf_[A-Za-z0-9]{20,}")


def check_trackers(names: Sequence[str]) -> None:
    """Check that the trackers are installed.

    Raises:
        UsageError: one is not.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"trackers: {name} is not installed.", hint=f"Install it: pip install {name}")


def start_trackers(accelerator: Any, settings: dict[str, Any], output: Path, *, resumed: bool) -> None:
    """Begin to track a run, under the name of its output folder; nothing is done without trackers.

    Args:
        settings: the config; credentials in it are not handed on.
        resumed: the run goes on: trackio goes on with the one of this name, the others begin another.

    Raises:
        UsageError: a tracker cannot begin: no login, no server.
    """
    if not accelerator.log_with:
        return
    name = name_of(output)
    options: dict[str, dict[str, Any]] = {
        "wandb": {"name": name},
        "mlflow": {"run_name": name},
        "trackio": {"name": name, "resume": "allow" if resumed else "never"},
    }
    try:
        accelerator.init_trackers(
            _PROJECT, config=without_credentials(_plain(flat(settings))), init_kwargs=options
        )
    except Exception as error:
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UsageError(
            f"trackers: {', '.join(settings['trackers'])}: cannot begin: {first}",
            hint="Log in or start its server, or track without a network: WANDB_MODE=offline, tensorboard, trackio.",
        ) from error


def tracked(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return what trackers are told of a line of the log: the step is told beside it."""
    return {name: value for name, value in line.items() if name != "step"}


def without_credentials(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without what opens doors: passwords in addresses, tokens of the hub."""
    return {
        name: _CREDENTIALS.sub("…", value) if isinstance(value, str) else value
        for name, value in settings.items()
    }


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as ``{"training.seed": 42}``."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            found |= flat(value, f"{name}.")
        else:
            found[name] = value
    return found


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with values of the types that every tracker takes."""
    kinds = bool | int | float | str
    return {name: value if isinstance(value, kinds) else str(value) for name, value in settings.items()}
