"""Parts of a model: encoder and decoder, the vision model beside the language model, the stages of a pyramid."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence

from llmkit.architectures.counted import Tensor

# What a step of a path says of the part it is in; the first step and the first pattern that say anything count.
_MODELS = (
    ("vision", re.compile(r"^(?:vision|visual|image)(?!.*(?:proj|coder))")),
    ("text", re.compile(r"^text_model|^text$")),
    ("language", re.compile(r"^language_model|^lm$|^llm$")),
    ("audio", re.compile(r"^(?:audio|speech)(?!.*(?:proj|coder))")),
    ("Q-Former", re.compile(r"^qformer")),
    ("codec", re.compile(r"^(?:codec|vq)\w*_?(?:model)?$")),
)
# ``encoder``, ``mask_decoder``: told by its own words.
_SIDE = re.compile(r"^(?:[a-z]+_)*(?:en|de)coder$")
_STEPS = 3  # the part is said by one of the first steps
_STAGE = re.compile(r"^(?P<list>[^*{}\d]*?)\.(?P<number>\d+)\.[^.]+\..*[.]")
MOST_STAGES = 8


def part_of(tensors: Sequence[Tensor]) -> Callable[[Tensor], str]:
    """Return what says which part of the model a tensor is in: ``encoder``, ``vision``, ``text decoder``; "".

    What all parts have in common is in none; and in a model of one part, nothing is said.
    """
    models = {tensor.name: _model(tensor.name) for tensor in tensors}
    sides = {tensor.name: _side(tensor.name) for tensor in tensors}
    sides_of: dict[str, set[str]] = defaultdict(set)
    for name, model in models.items():
        sides_of[model].add(sides[name])
    has_models = len(set(models.values()) - {""}) > 1
    has_sides = {model: len(found - {""}) > 1 for model, found in sides_of.items()}

    def part(tensor: Tensor) -> str:
        model, side = models[tensor.name], sides[tensor.name]
        return " ".join(filter(None, (model if has_models else "", side if has_sides[model] else "")))

    return part


def stage_of(tensors: Sequence[Tensor]) -> Callable[[Tensor], str]:
    """Return what says which stage of a pyramid a tensor is in: ``stage 2``; "" outside of any.

    Stages are the elements of a list that differ in their shapes, as Swin's four, or ResNet's.
    """
    numbers: dict[str, set[int]] = defaultdict(set)
    for tensor in tensors:
        found = _STAGE.match(tensor.name)
        if found:
            numbers[found["list"]].add(int(found["number"]))
    staged = {path for path, used in numbers.items() if 2 <= len(used) <= MOST_STAGES}

    def stage(tensor: Tensor) -> str:
        found = _STAGE.match(tensor.name)
        return f"stage {int(found['number']) + 1}" if found and found["list"] in staged else ""

    return stage


def _model(name: str) -> str:
    steps = name.split(".")[:_STEPS]
    return next((said for step in steps for said, pattern in _MODELS if pattern.search(step)), "")


def _side(name: str) -> str:
    steps = name.split(".")[:_STEPS]
    return next((step.replace("_", " ") for step in steps if _SIDE.search(step)), "")
