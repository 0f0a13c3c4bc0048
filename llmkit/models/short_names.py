"""Short names of common encoders that are no names of the hub, and the repositories they stand for."""

from __future__ import annotations

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
