"""Encoders of tiny real models of every kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers

from llmkit.embeddings.encoder import Encoder, load_encoder
from llmkit.embeddings.settings import EmbedSettings
from llmkit.models.loading import LoadOptions
from llmkit.models.resolving import resolve_model
from tests.fixtures.tiny import vocabulary
from tests.fixtures.tiny.checkpoint import SIZES, SPREAD, random_model, save

# Folders by what is peculiar to each: token types, positions after the padding's, causal attention, a chat
# tokenizer that pads on the left, an encoder beside a decoder, relative positions.
KINDS = {
    "bert": "feature-extraction",
    "gpt2": "text-generation",
    "qwen2": "conversational",
    "llama": "decision",
    "bart": "summarization",
    "t5": "translation",
}


@pytest.fixture(scope="session")
def folder_of(tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model: `folder_of("roberta")`."""
    root = tmp_path_factory.mktemp("encoders")

    def folder(kind: str) -> Path:
        if kind == "roberta":
            return root / kind if (root / kind).is_dir() else build_roberta(root / kind)
        return tiny(KINDS[kind])

    return folder


def build_roberta(folder: Path) -> Path:
    """RoBERTa: its positions begin after that of the padding."""
    tokenizer = vocabulary.bart(62)
    config = transformers.RobertaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=64,
        type_vocab_size=1,
        initializer_range=SPREAD,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **SIZES,
    )
    return save(folder, random_model(transformers.RobertaModel, config), tokenizer)


def encoder_of(folder: str | Path, **settings: Any) -> Encoder:
    """Load an encoder in float32 on the CPU."""
    return load_encoder(resolve_model(str(folder)), EmbedSettings(**settings), LoadOptions("cpu", "float32"))
