"""The model types that transformers knows, without importing it."""

from __future__ import annotations

import pytest

from llmkit.architectures.model_types import check_model_type, model_types
from llmkit.errors import UsageError


def test_they_are_those_of_the_installed_transformers():
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    assert model_types() == set(CONFIG_MAPPING_NAMES)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "has no model_type"),
        ({"model_type": ""}, "has no model_type"),
        ({"model_type": "brt"}, "did you mean bert"),
        ({"model_type": ["bert"]}, "no such model type"),
        ({"model_type": "own", "auto_map": {"AutoModel": "model.Own"}}, "code of its own"),
    ],
)
def test_what_is_none_of_them(values, said):
    with pytest.raises(UsageError, match=said):
        check_model_type(values, "config.json")
