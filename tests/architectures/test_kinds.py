"""The kind of a model: what goes in, and for text how it is read."""

from __future__ import annotations

import pytest

from llmkit.architectures.counting import count_architecture

KINDS = {
    "encoder-only": [
        "bert",
        "albert",
        "deberta-v2",
        "modernbert",
        "electra",
        "xlm-roberta",
        "clip_text_model",
    ],
    "decoder-only": ["gpt2", "llama", "mixtral", "mamba", "bloom", "gemma3_text", "llama4_text", "gpt-sw3"],
    "encoder-decoder": ["t5", "bart", "marian", "m2m_100", "switch_transformers"],
    "vision": ["vit", "swin", "resnet", "cvt", "regnet", "sam", "vivit", "clip_vision_model", "imagegpt"],
    "audio": ["wav2vec2", "whisper", "hubert", "speech_to_text", "encodec", "seamless_m4t"],
    "multimodal": [
        "clip",
        "blip",
        "llava",
        "qwen2_vl",
        "qwen2_audio",
        "cohere2_vision",
        "layoutlmv3",
        "udop",
    ],
}


@pytest.mark.parametrize(
    ("kind", "model_type"), [(kind, model_type) for kind, types in KINDS.items() for model_type in types]
)
def test_the_kind(kind, model_type):
    assert count_architecture({"model_type": model_type}, formulas=False).kind == kind


def test_bert_that_reads_from_left_to_right():
    counted = count_architecture({"model_type": "bert", "is_decoder": True}, formulas=False)
    assert (counted.kind, counted.head) == ("decoder-only", "causal-lm")
