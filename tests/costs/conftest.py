"""Counts of models, made once."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from llmkit.architectures.count import ModelCount, count_parameters


@pytest.fixture(scope="session")
def count() -> Callable[..., ModelCount]:
    """Count a model of the catalogue, or with adapters: `count("gpt2", lora="r=8")`."""

    @functools.cache
    def counted(name: str, lora: str | None = None) -> ModelCount:
        return count_parameters(name, lora=lora)

    return counted
