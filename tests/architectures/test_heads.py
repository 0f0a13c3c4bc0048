"""Heads: which a type has, which is meant by default, and what a checkpoint's config names."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmkit.architectures.building import configure
from llmkit.architectures.heads import (
    HEAD_NAMES,
    HEADS,
    check_head,
    default_head,
    heads_of,
    model_class,
    name_of_head,
    usual_head,
)
from llmkit.errors import UsageError
from tests.fixtures.versions import CHECKS_ARCHITECTURES


@pytest.mark.parametrize(
    ("model_type", "head", "class_name"),
    [
        ("bert", "none", "BertModel"),
        ("vit", "none", "ViTModel"),
        ("wav2vec2", "none", "Wav2Vec2Model"),
        ("clip", "none", "CLIPModel"),
        ("blip", "none", "BlipModel"),
        ("gpt2", "causal-lm", "GPT2LMHeadModel"),
        ("llama", "causal-lm", "LlamaForCausalLM"),
        ("mamba", "causal-lm", "MambaForCausalLM"),
        ("t5", "seq2seq-lm", "T5ForConditionalGeneration"),
        ("marian", "seq2seq-lm", "MarianMTModel"),
        ("whisper", "speech-seq2seq", "WhisperForConditionalGeneration"),
        ("llava", "image-text-to-text", "LlavaForConditionalGeneration"),
        ("blip-2", "image-text-to-text", "Blip2ForConditionalGeneration"),
        ("funnel", "none", "FunnelModel"),
        ("seamless_m4t", "none", "SeamlessM4TModel"),
    ],
)
def test_the_default_is_the_model_of_the_paper(model_type, head, class_name):
    config = configure({"model_type": model_type})
    assert default_head(config) == head
    assert model_class(config, head).__name__ == class_name


def test_an_encoder_that_is_a_decoder_writes():
    assert default_head(configure({"model_type": "bert", "is_decoder": True})) == "causal-lm"


@pytest.mark.parametrize(
    ("model_type", "usual"),
    [
        ("bert", "masked-lm"),
        ("electra", "pretraining"),
        ("vit", "image-classification"),
        ("wav2vec2", "ctc"),
        ("gpt2", "causal-lm"),
        ("clip", None),
        ("clip_text_model", None),
    ],
)
def test_the_usual_head(model_type, usual):
    assert usual_head(configure({"model_type": model_type})) == usual


def test_every_head_is_a_class_of_the_installed_transformers():
    from transformers.models.auto import modeling_auto

    assert [name for name in HEADS.values() if not hasattr(modeling_auto, name)] == []


def test_a_head_the_type_does_not_have_lists_those_it_has():
    config = configure({"model_type": "gpt2"})
    with pytest.raises(UsageError) as caught:
        model_class(config, "ctc")
    assert "gpt2" in caught.value.message
    assert caught.value.hint == f"It has: {', '.join(heads_of(config))}."
    assert "token-classification" in caught.value.hint


def test_an_unknown_head_has_the_nearest():
    with pytest.raises(UsageError, match="did you mean masked-lm"):
        check_head("maskedlm")


def test_the_page_has_all_heads():
    page = (Path(__file__).parents[2] / "docs" / "params.md").read_text(encoding="utf-8")
    assert [head for head in HEAD_NAMES if f"`{head}`" not in page and f"--head {head}`" not in page] == []


def test_the_head_of_a_checkpoint():
    config = configure({"model_type": "bert", "architectures": ["BertForQuestionAnswering"]})
    built = model_class(config, "checkpoint")
    assert built.__name__ == "BertForQuestionAnswering"
    assert name_of_head(config, built) == "question-answering"


@pytest.mark.parametrize(
    ("architectures", "named"),
    [
        (None, "architectures"),
        (["BertForNothing"], "BertForNothing"),
        (["BertConfig"], ""),
        ("BertModel", "should be a list"),
        ([5], "should be a list"),
    ],
)
def test_a_checkpoint_that_does_not_say_its_head(architectures, named):
    is_refused_before = CHECKS_ARCHITECTURES and named == "should be a list"
    with pytest.raises(UsageError) as caught:
        model_class(configure({"model_type": "bert", "architectures": architectures}), "checkpoint")
    assert named in caught.value.message
    assert is_refused_before or "masked-lm" in caught.value.hint
