"""Counts with their formulas, each architecture counted once for all tests."""

from __future__ import annotations

from functools import cache

from llmkit.architectures.counted import Counted, Tensor
from llmkit.architectures.counting import count_architecture


def counted(model_type: str, head: str | None = None, **values: object) -> Counted:
    """Return the count of a type's default config with other values."""
    return _counted(model_type, head, tuple(sorted(values.items())))


def tensors(model_type: str, **values: object) -> dict[str, Tensor]:
    """Return the tensors of a count by name."""
    return {tensor.name: tensor for tensor in counted(model_type, **values).tensors}


@cache
def _counted(model_type: str, head: str | None, values: tuple[tuple[str, object], ...]) -> Counted:
    return count_architecture({"model_type": model_type, **dict(values)}, head)
