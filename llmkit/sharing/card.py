"""A run's card as the hub reads it: licence, figures in the form of its model index, and a command that works there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from llmkit.data.yaml_text import read_yaml
from llmkit.errors import DataError, UsageError
from llmkit.sharing.contents import CARD, without_folders

_FRONT = re.compile(r"\A---\r?\n(.*?\r?\n)?---\r?\n?", re.DOTALL)
_COMMAND = re.compile(r"^llmkit .*$", re.MULTILINE)
_TITLE = re.compile(r"\A\s*# .*$", re.MULTILINE)
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_SPLITS = {"eval": "validation", "test": "test", "train": "train"}


@dataclass(frozen=True, slots=True)
class CardOf:
    """What a card is about.

    Attributes:
        name: the model's, as its title says it: the hub id where it is on the hub.
        task: the training task.
        figures: as in metrics.json: ``eval_accuracy`` is the accuracy on the validation set.
        data: the files or sets that it was trained on.
        base: the model that it was trained from, None where it is new.
        trying: the command to try it with.
    """

    name: str
    task: str
    figures: Mapping[str, float | None] = field(default_factory=dict)
    data: tuple[str, ...] = ()
    base: str | None = None
    trying: str = ""


def hub_card(folder: Path, about: CardOf, license: str | None = None) -> str:  # noqa: A002
    """Return the card of a run for the hub: the one that lies in its folder, with what the hub wants to know.

    Args:
        license: the licence by its short name on the hub, such as apache-2.0; None takes the one that the card says.

    Raises:
        UsageError: nobody said a licence, or it cannot be one.
        DataError: the card that is there has damaged metadata.
    """
    text = (folder / CARD).read_text(encoding="utf-8", errors="replace") if (folder / CARD).exists() else ""
    metadata, body = split_card(text)
    metadata["license"] = checked_license(license or metadata.get("license"))
    metadata.pop("base_model", None)
    if about.base is not None and not _is_here(about.base):
        metadata["base_model"] = about.base
    datasets = [name.removeprefix("hub:").partition(":")[0] for name in about.data if name.startswith("hub:")]
    if datasets:
        metadata["datasets"] = datasets
    if results := _model_index(about, str(metadata.get("pipeline_tag", about.task))):
        metadata["model-index"] = [{"name": about.name, "results": results}]
    front = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n{without_folders(_body(body, about))}"


def split_card(text: str) -> tuple[dict[str, Any], str]:
    """Return the metadata at a card's head, and the rest.

    Raises:
        DataError: the metadata are damaged.
    """
    front = _FRONT.match(text)
    if front is None:
        return {}, text
    value = read_yaml(front[1] or "", CARD).value
    if value is not None and not isinstance(value, dict):
        raise DataError(f"{CARD}: its head is no mapping of names to values.")
    return dict(value or {}), text[front.end() :]


def checked_license(license: Any) -> str:  # noqa: A002
    """Return a licence by its short name.

    Raises:
        UsageError: there is none, or it cannot be one.
    """
    if not license:
        raise UsageError(
            "nobody said under which licence others may use the model.",
            hint="Say it with --license, by its short name on the hub: apache-2.0, mit, cc-by-4.0, other …",
        )
    if not isinstance(license, str) or not _LICENSE.fullmatch(license):
        raise UsageError(
            f"--license {license}: that is no short name of a licence.", hint="For example: apache-2.0."
        )
    return license


def _is_here(name: str) -> bool:
    """Tell whether a model's name is a path of this machine, or a model that comes with llmkit."""
    return name.startswith(("/", ".", "~")) or name.count("/") > 1 or Path(name).exists() or ":" in name


def _body(body: str, about: CardOf) -> str:
    title = f"# {about.name}"
    if not body.strip():
        return f"{title}\n\nTrained for {about.task} with llmkit.\n\n```\n{about.trying}\n```\n"
    body = _COMMAND.sub(lambda _: about.trying, body, count=1) if about.trying else body
    return _TITLE.sub(lambda _: title, body, count=1) if _TITLE.match(body) else f"{title}\n\n{body}"


def _model_index(about: CardOf, task: str) -> list[dict[str, Any]]:
    """Return the figures as the hub's model index has them: one result for each set that they were taken on."""
    results = []
    for prefix, split in _SPLITS.items():
        metrics = [
            {"type": name.removeprefix(f"{prefix}_"), "value": value, "name": name}
            for name, value in about.figures.items()
            if name.startswith(f"{prefix}_") and isinstance(value, int | float)
        ]
        if not metrics:
            continue
        source = about.data[0] if about.data else "unknown"
        is_hub = source.startswith("hub:")
        name = source.removeprefix("hub:").partition(":")[0] if is_hub else re.split(r"[/\\]", source)[-1]
        dataset = {"type": name if is_hub else "custom", "name": name, "split": split}
        results.append({"task": {"type": task}, "dataset": dataset, "metrics": metrics})
    return results
