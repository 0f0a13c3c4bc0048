"""A tiny model of each family whose layers `llmkit attention --explain` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers

from tests.fixtures.tiny import vocabulary
from tests.fixtures.tiny.checkpoint import SIZES, SPREAD, random_model, save


def masked(name: str, **settings: Any):
    """BERT and what is built like it, with a WordPiece vocabulary."""

    def build(folder: Path) -> Path:
        tokenizer = vocabulary.bert()
        given = {"vocab_size": len(tokenizer), "pad_token_id": 0, "initializer_range": SPREAD, **settings}
        config = getattr(transformers, f"{name}Config")(**given)
        return save(folder, random_model(getattr(transformers, f"{name}ForMaskedLM"), config), tokenizer)

    return build


def roberta(folder: Path) -> Path:
    tokenizer = vocabulary.bart()
    config = transformers.RobertaConfig(
        vocab_size=len(tokenizer), pad_token_id=1, max_position_embeddings=66, initializer_range=SPREAD, **SIZES
    )  # fmt: skip
    return save(folder, random_model(transformers.RobertaForMaskedLM, config), tokenizer)


def causal(name: str, **settings: Any):
    """A decoder alone, with a byte-level vocabulary."""

    def build(folder: Path) -> Path:
        tokenizer = vocabulary.chat()
        given = {"vocab_size": len(tokenizer), "initializer_range": SPREAD, **SIZES} | settings
        config = getattr(transformers, f"{name}Config")(**given)
        return save(folder, random_model(getattr(transformers, f"{name}ForCausalLM"), config), tokenizer)

    return build


def opt(**settings: Any):
    sizes = {key: SIZES[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads")}

    def build(folder: Path) -> Path:
        tokenizer = vocabulary.chat()
        ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
        config = transformers.OPTConfig(
            vocab_size=len(tokenizer), ffn_dim=64, init_std=SPREAD, max_position_embeddings=64,
            **ids, **sizes, **settings,
        )  # fmt: skip
        return save(folder, random_model(transformers.OPTForCausalLM, config), tokenizer)

    return build


def like_bart(name: str, end: str = "ForConditionalGeneration", **settings: Any):
    """BART and what is built like it, its norms before or after the attention."""

    def build(folder: Path) -> Path:
        tokenizer = vocabulary.bart()
        sizes = {
            f"{side}_{what}": 2 for side in ("encoder", "decoder") for what in ("layers", "attention_heads")
        }
        config = getattr(transformers, f"{name}Config")(
            vocab_size=len(tokenizer), d_model=32, encoder_ffn_dim=64, decoder_ffn_dim=48, max_position_embeddings=64,
            init_std=SPREAD, pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2,
            **sizes, **settings,
        )  # fmt: skip
        return save(folder, random_model(getattr(transformers, name + end), config), tokenizer)

    return build


def like_t5(name: str, **settings: Any):
    def build(folder: Path) -> Path:
        tokenizer = vocabulary.t5()
        config = getattr(transformers, f"{name}Config")(
            vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=2, initializer_factor=2.0,
            pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, **settings,
        )  # fmt: skip
        model = random_model(getattr(transformers, f"{name}ForConditionalGeneration"), config)
        return save(folder, model, tokenizer)

    return build


# Each with the family that it is told as.
FAMILIES = {
    "roberta": ("BERT", roberta),
    # Embeddings that are narrower than the layers.
    "electra": ("BERT", masked("Electra", embedding_size=16, **SIZES)),
    "distilbert": ("DistilBERT", masked("DistilBert", dim=32, n_layers=2, n_heads=2, hidden_dim=64)),
    "albert": ("ALBERT", masked("Albert", embedding_size=16, **SIZES)),
    "albert of two groups": (
        "ALBERT",
        masked("Albert", embedding_size=32, num_hidden_groups=2, inner_group_num=2, **SIZES | {"num_hidden_layers": 3}),
    ),
    # The first and fourth of its layers look at everything, the others at their neighbours.
    "modernbert": (
        "ModernBERT",
        masked(
            "ModernBert", cls_token_id=2, sep_token_id=3, local_attention=4, **SIZES | {"num_hidden_layers": 4}
        ),
    ),
    # Queries and keys are normalized, heads are wider than the model's width says, keys are shared.
    "qwen3": ("Llama", causal("Qwen3", head_dim=24, num_key_value_heads=1)),
    # A quarter of each head is rotated.
    "stablelm": ("Llama", causal("StableLm", num_key_value_heads=2)),
    "opt": ("OPT", opt()),
    "opt of 350M": ("OPT", opt(do_layer_norm_before=False, word_embed_proj_dim=16)),
    "galactica": ("OPT", opt(enable_bias=False, layer_norm_elementwise_affine=False)),
    "bart": ("BART", like_bart("Bart")),
    "mbart": ("BART", like_bart("MBart", scale_embedding=True)),
    "pegasus": ("BART", like_bart("Pegasus", scale_embedding=True)),
    "marian": ("BART", like_bart("Marian", "MTModel", scale_embedding=True)),
    "m2m 100": ("BART", like_bart("M2M100", scale_embedding=True)),
    "blenderbot": ("BART", like_bart("Blenderbot")),
    "gated t5": ("T5", like_t5("T5", feed_forward_proj="gated-gelu")),
    # A bias for each layer.
    "umt5": ("T5", like_t5("UMT5")),
}  # fmt: skip
