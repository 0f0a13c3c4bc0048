"""Values of a config changed by name."""

from __future__ import annotations

import pytest

from llmkit.architectures.building import configure
from llmkit.architectures.settings import apply_settings, resolve_settings
from llmkit.errors import UsageError


def test_values_are_changed_and_the_given_ones_are_left():
    values = {"model_type": "llava", "text_config": {"model_type": "llama", "hidden_size": 8}}
    changed = apply_settings(values, {"text_config.hidden_size": 16, "vision_config.num_hidden_layers": 2})
    assert changed["text_config"] == {"model_type": "llama", "hidden_size": 16}
    assert changed["vision_config"] == {"num_hidden_layers": 2}
    assert values["text_config"]["hidden_size"] == 8


def test_a_number_of_labels_replaces_their_table():
    values = {"model_type": "bert", "id2label": {"0": "a", "1": "b", "2": "c"}}
    assert apply_settings(values, {"num_labels": 5}) == {"model_type": "bert", "num_labels": 5}


def test_a_name_through_a_number_is_refused():
    with pytest.raises(UsageError, match="not a nested config"):
        apply_settings({"hidden_size": 8}, {"hidden_size.x": 1})


def test_common_names_stand_for_the_configs_own():
    assert resolve_settings(configure({"model_type": "gpt2"}), {"hidden_size": 64}) == {"n_embd": 64}
    assert resolve_settings(configure({"model_type": "distilbert"}), {"num_labels": 3}) == {"num_labels": 3}


@pytest.mark.parametrize(
    ("model_type", "name", "value", "said"),
    [
        ("bert", "hiden_size", 8, "did you mean hidden_size"),
        ("llava", "text_config.hiden_size", 8, "did you mean text_config.hidden_size"),
        (
            "llava",
            "num_hidden_layers",
            2,
            r"in text_config\.num_hidden_layers and vision_config\.num_hidden_lay",
        ),
        ("llava", "text_config", 5, "text_config=5: text_config is a nested config, not a single value"),
        ("bert", "text_config.hidden_size", 8, "no 'text_config'"),
        ("bert", "hidden_size.x", 8, "not a nested config"),
        ("bert", "hidden_size", "many", "it should be a number"),
        ("bert", "hidden_size", True, "it should be a number"),
    ],
)
def test_what_the_config_does_not_have(model_type, name, value, said):
    with pytest.raises(UsageError, match=said):
        resolve_settings(configure({"model_type": model_type}), {name: value})
