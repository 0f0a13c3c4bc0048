"""The parts of a model, and the stages of a pyramid."""

from __future__ import annotations

from functools import cache

import pytest

from llmkit.architectures.counting import count_architecture
from llmkit.architectures.parts import part_of, stage_of


@cache
def tensors(model_type):
    return count_architecture({"model_type": model_type}, formulas=False).tensors


@pytest.mark.parametrize(
    ("model_type", "parts"),
    [
        ("bert", {""}),
        ("gpt2", {""}),
        ("opt", {""}),
        ("t5", {"", "encoder", "decoder"}),
        ("whisper", {"encoder", "decoder"}),
        ("clip", {"", "text", "vision"}),
        ("llava", {"", "vision", "language"}),
        ("blip-2", {"", "vision", "Q-Former", "language"}),
        ("sam", {"", "vision encoder", "prompt encoder", "mask decoder"}),
        ("swin", {""}),
    ],
)
def test_parts(model_type, parts):
    assert {part_of(tensors(model_type))(tensor) for tensor in tensors(model_type)} == parts


@pytest.mark.parametrize(
    ("model_type", "stages"),
    [
        ("swin", {"", "stage 1", "stage 2", "stage 3", "stage 4"}),
        ("convnext", {"", "stage 1", "stage 2", "stage 3", "stage 4"}),
        ("bert", {""}),
        ("t5", {""}),  # its first layer has a bias of its own, and is no stage
        ("deepseek_v3", {""}),
        ("llava", {""}),
    ],
)
def test_stages(model_type, stages):
    assert {stage_of(tensors(model_type))(tensor) for tensor in tensors(model_type)} == stages
