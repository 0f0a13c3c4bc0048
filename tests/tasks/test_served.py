"""Which tasks a model is for, by its config."""

from __future__ import annotations

import pytest

from llmkit.tasks.served import tasks_of

OF_TEXT = {"feature-extraction", "sentence-similarity"}
OF_IMAGES = {"image-feature-extraction"}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"architectures": ["BertModel"], "vocab_size": 30522}, OF_TEXT),
        ({"architectures": ["ViTModel"], "image_size": 224, "num_channels": 3}, OF_IMAGES),
        ({"architectures": ["CLIPModel"], "text_config": {}, "vision_config": {}}, OF_TEXT | OF_IMAGES),
        (
            {"architectures": ["ClapModel"], "text_config": {}, "audio_config": {}},
            OF_TEXT | {"zero-shot-audio-classification"},
        ),
        ({"architectures": ["Wav2Vec2Model"], "vocab_size": 32, "conv_dim": [512]}, OF_TEXT),
        ({"architectures": ["BertForMaskedLM"], "vocab_size": 30522}, {"fill-mask"}),
        ({"architectures": ["BertForSequenceClassification"]}, {"text-classification"}),
        (
            {"architectures": ["BartForSequenceClassification"], "label2id": {"Entailment": 0}},
            {"text-classification", "zero-shot-classification"},
        ),
        ({}, set()),
    ],
)
def test_by_its_config(config, expected):
    assert set(tasks_of(config)) == expected


def test_a_config_that_does_not_tell_what_is_read():
    everything = OF_TEXT | OF_IMAGES | {"zero-shot-audio-classification"}
    assert set(tasks_of({"architectures": ["OddModel"]})) == everything
