"""Which tasks a model is for, as far as its config tells, without transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmkit.tasks.catalogue import Task, tasks

_BARE = "AutoModel"
# Classes that are not called after their auto class, by the end of their names.
_AUTO_CLASSES = (
    ("LMHeadModel", "AutoModelForCausalLM"),
    ("DoubleHeadsModel", "AutoModelForCausalLM"),
    ("MTModel", "AutoModelForSeq2SeqLM"),
    ("Model", _BARE),
)
_OF_TEXT = ("AutoModelForSeq2SeqLM",)
# What a model without a head reads, by the keys of its config; one with none of them may read anything.
_READS = {
    "text": ("vocab_size", "text_config"),
    "image": ("num_channels", "image_size", "patch_size", "vision_config"),
    "audio": ("num_mel_bins", "conv_dim", "audio_config"),
}


def tasks_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the tasks that a model was saved for, by its config's `architectures`."""
    heads = {head for name in config.get("architectures") or () for head in _heads_of(str(name), config)}
    found = [task for task in tasks().values() if heads.intersection(task.heads)]
    labels = [str(label).lower() for label in (config.get("label2id") or {})]
    return tuple(
        task.name
        for task in found
        if (task.name != "zero-shot-classification" or any(label.startswith("entail") for label in labels))
        and (heads != {_BARE} or _is_read(task, config))
    )


def _is_read(task: Task, config: Mapping[str, Any]) -> bool:
    """Tell whether a model without a head reads what the task is about, as far as its config tells."""
    read = {modality for modality, keys in _READS.items() if any(key in config for key in keys)}
    if not read:
        return True
    if task.name.startswith("zero-shot"):  # holds the one against the other
        return {"text_config", f"{task.modality}_config"} <= config.keys()
    return task.modality in read


def _heads_of(architecture: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    if architecture.endswith("ForConditionalGeneration"):
        sees = "vision_config" in config
        return ("AutoModelForImageTextToText", "AutoModelForMultimodalLM") if sees else _OF_TEXT
    _, marked, head = architecture.partition("For")
    if marked:
        return (f"AutoModelFor{head}",)
    return next(((auto,) for ending, auto in _AUTO_CLASSES if architecture.endswith(ending)), ())
