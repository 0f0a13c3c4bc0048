"""Tiny seeded models for the golden results, and images for them."""

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import GenerationConfig

from tests.tasks.golden.running import IMAGES, MODELS
from tests.tasks.golden.tiny_tokenizers import byte_level, mbart50_tokenizer, t5_tokenizer, wordpiece


def save(model, folder, scale=None):
    """Save with float32 weights; `scale` multiplies the named parameters, to make the outputs less uniform."""
    for name, factor in (scale or {}).items():
        for parameter_name, parameter in model.named_parameters():
            if name in parameter_name:
                parameter.data *= factor
    model.eval().save_pretrained(folder)


def build_question_answering():
    folder = MODELS / "bert-qa"
    tokenizer = wordpiece(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=128,
        initializer_range=0.3,
    )
    save(transformers.BertForQuestionAnswering(config), folder, {"qa_outputs": 3.0})

    folder = MODELS / "roberta-qa"
    tokenizer = byte_level(folder)
    torch.manual_seed(1)
    config = transformers.RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=98,
        type_vocab_size=1,
        initializer_range=0.3,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    save(transformers.RobertaForQuestionAnswering(config), folder, {"qa_outputs": 3.0})


def build_text_to_text():
    folder = MODELS / "t5"
    tokenizer = t5_tokenizer(folder)
    torch.manual_seed(2)
    config = transformers.T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
        initializer_factor=1.0,
        tie_word_embeddings=False,
        task_specific_params={
            "summarization": {
                "prefix": "summarize: ",
                "max_length": 14,
                "min_length": 4,
                "num_beams": 3,
                "length_penalty": 2.0,
                "early_stopping": True,
                "no_repeat_ngram_size": 3,
            },
            "translation_en_to_fr": {"prefix": "translate English to French: ", "num_beams": 2},
            "translation_en_to_de": {
                "prefix": "translate English to German: ",
                "max_new_tokens": 9,
                "num_beams": 4,
            },
        },
    )
    save(transformers.T5ForConditionalGeneration(config), folder, {"lm_head": 4.0})

    folder = MODELS / "bart"
    tokenizer = byte_level(folder)
    torch.manual_seed(3)
    model = transformers.BartForConditionalGeneration(bart_config(len(tokenizer), prefix="context: "))
    model.generation_config = GenerationConfig(
        max_length=20 + 4,
        decoder_start_token_id=2,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=1,
        no_repeat_ngram_size=2,
    )
    save(model, folder)

    folder = MODELS / "mbart50"
    tokenizer = mbart50_tokenizer(folder)
    torch.manual_seed(4)
    config = transformers.MBartConfig(**bart_config(len(tokenizer)).to_diff_dict() | {"model_type": "mbart"})
    model = transformers.MBartForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        max_new_tokens=12, decoder_start_token_id=2, bos_token_id=0, eos_token_id=2, pad_token_id=1
    )
    save(model, folder)


def bart_config(vocab_size, **more):
    return transformers.BartConfig(
        vocab_size=vocab_size,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=96,
        init_std=0.4,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=2,
        **more,
    )


VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "image_size": 24,
    "patch_size": 8,
}
TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}


def build_image_to_text():
    folder = MODELS / "vit-gpt2"
    tokenizer = byte_level(folder)
    transformers.ViTImageProcessor(size={"height": 24, "width": 24}).save_pretrained(folder)
    torch.manual_seed(5)
    decoder = transformers.GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=16,
        n_layer=1,
        n_head=2,
        n_positions=64,
        initializer_range=0.5,
        add_cross_attention=True,
        is_decoder=True,
        bos_token_id=0,
        eos_token_id=2,
    )
    encoder = transformers.ViTConfig(initializer_range=0.5, **VIT)
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 0, 1, 2
    model = transformers.VisionEncoderDecoderModel(config)
    model.generation_config = GenerationConfig(
        max_length=16, decoder_start_token_id=0, bos_token_id=0, eos_token_id=2, pad_token_id=1
    )
    save(model, folder)

    folder = MODELS / "blip"
    torch.manual_seed(6)
    save(transformers.BlipForConditionalGeneration(blip_config(folder)), folder)


def blip_config(folder):
    tokenizer = wordpiece(folder, model_input_names=["input_ids", "attention_mask"])
    transformers.BlipImageProcessor(size={"height": 24, "width": 24}).save_pretrained(folder)
    text = {
        "vocab_size": len(tokenizer),
        "bos_token_id": 2,
        "eos_token_id": 3,
        "sep_token_id": 3,
        "pad_token_id": 0,
        "max_position_embeddings": 64,
        "encoder_hidden_size": 16,
        "projection_dim": 16,
        "initializer_range": 0.5,
    }
    return transformers.BlipConfig(
        text_config=text | TEXT,
        vision_config=VIT | {"initializer_range": 0.5},
        projection_dim=16,
        image_text_hidden_size=16,
    )


def build_visual_question_answering():
    folder = MODELS / "vilt-vqa"
    tokenizer = wordpiece(folder)
    transformers.ViltImageProcessor(size={"shortest_edge": 32}, size_divisor=16).save_pretrained(folder)
    torch.manual_seed(7)
    config = transformers.ViltConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=40,
        image_size=32,
        patch_size=16,
        initializer_range=0.3,
        num_labels=7,
        id2label={i: f"answer {i}" for i in range(7)},
        **TEXT,
    )
    save(transformers.ViltForQuestionAnswering(config), folder)

    folder = MODELS / "blip-vqa"
    torch.manual_seed(8)
    save(transformers.BlipForQuestionAnswering(blip_config(folder)), folder)


def build_image_to_image():
    folder = MODELS / "swin2sr"
    transformers.Swin2SRImageProcessor(pad_size=8).save_pretrained(folder)
    torch.manual_seed(9)
    config = transformers.Swin2SRConfig(
        image_size=16,
        embed_dim=12,
        depths=[1, 1],
        num_heads=[2, 2],
        window_size=4,
        upscale=2,
        mlp_ratio=1.5,
        initializer_range=0.2,
    )
    save(transformers.Swin2SRForImageSuperResolution(config), folder)


def build_images():
    random = np.random.default_rng(0)
    for name, (height, width) in {
        "a": (24, 24),
        "b": (24, 24),
        "c": (24, 24),
        "wide": (32, 48),
        "square": (32, 32),
        "small": (18, 21),
    }.items():
        ramp = np.linspace(0, 200, width)[None, :, None] * np.linspace(0.2, 1, height)[:, None, None]
        noise = random.integers(0, 55, (height, width, 3))
        Image.fromarray((ramp + noise).astype(np.uint8)).save(IMAGES / f"{name}.png")
