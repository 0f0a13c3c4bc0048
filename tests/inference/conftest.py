"""What the tests of inference can ask for: pipelines on tiny models."""

import functools

import pytest

import llmkit


@pytest.fixture(scope="module")
def load(tiny):
    """A llmkit pipeline on a tiny model; loaded once a module."""

    @functools.cache
    def loaded(task, name=None):
        return llmkit.pipeline(task, model=str(tiny(name or task)), device="cpu")

    return loaded
