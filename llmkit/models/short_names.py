"""Short names of common encoders that are no names of the hub, and the repositories they stand for."""

from __future__ import annotations

from llmkit.errors import did_you_mean
from llmkit.models.embedded import EMBEDDED_NAME

SHORT_NAMES = {
    "bert-base": "google-bert/bert-base-uncased",
    "bert-large": "google-bert/bert-large-uncased",
    "mbert": "google-bert/bert-base-multilingual-cased",
    "distilbert": "distilbert/distilbert-base-uncased",
    "xlm-roberta": "FacebookAI/xlm-roberta-base",
    "albert-base": "albert/albert-base-v2",
    "electra-base": "google/electra-base-discriminator",
    "deberta-v3": "microsoft/deberta-v3-base",
    "mpnet": "sentence-transformers/all-mpnet-base-v2",
    "labse": "sentence-transformers/LaBSE",
    "modernbert": "answerdotai/ModernBERT-base",
    "modernbert-large": "answerdotai/ModernBERT-large",
    "bge-small": "BAAI/bge-small-en-v1.5",
    "bge-base": "BAAI/bge-base-en-v1.5",
    "bge-large": "BAAI/bge-large-en-v1.5",
    "bge-m3": "BAAI/bge-m3",
    "e5-small": "intfloat/e5-small-v2",
    "e5-base": "intfloat/e5-base-v2",
    "e5-large": "intfloat/e5-large-v2",
    "e5-multilingual": "intfloat/multilingual-e5-base",
    "gte-base": "thenlper/gte-base",
}


def beside_nearest(name: str, hint: str) -> str:
    """Return a hint on a model that was not found, with the short name before it that was perhaps meant."""
    # A name with an owner is no short name that was mistyped.
    near = None if "/" in name else did_you_mean(name, (*SHORT_NAMES, EMBEDDED_NAME))
    return hint if near is None else f"D{near[1:]} {hint}"
