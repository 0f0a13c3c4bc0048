"""Reduced precision on trial: bfloat16 is kept only where its vectors point where those of float32 do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from llmkit.embeddings.attempts import ModelFailedError
from llmkit.embeddings.embedding import Embedding, embed_texts
from llmkit.embeddings.encoder import Encoder, load_encoder
from llmkit.embeddings.settings import EmbedSettings
from llmkit.models.loading import LoadOptions
from llmkit.models.resolved import ResolvedModel

LEAST_COSINE = 0.9995
TRIAL_TEXTS = 64


def load_trusted_encoder(
    resolved: ResolvedModel,
    settings: EmbedSettings,
    options: LoadOptions,
    trial: Sequence[str],
    note: Callable[[str], None] = lambda text: None,
) -> Encoder:
    """Load a model; with dtype auto in bfloat16 where that is fast and right enough, else in float32.

    Args:
        trial: the first texts, on which both are compared.

    Raises:
        ModelError, UsageError: as of `load_encoder`.
    """
    import torch

    encoder = load_encoder(resolved, settings, options)
    if options.dtype != "auto" or encoder.model.dtype is torch.float32 or not trial:
        return encoder
    exact = load_encoder(resolved, settings, replace(options, dtype="float32"))
    lowest = min(_cosines(encoder, exact, trial), default=1.0)
    if lowest >= LEAST_COSINE:
        return encoder
    note(
        f"staying in float32: in {str(encoder.model.dtype).removeprefix('torch.')} a vector of the first texts "
        f"has a cosine of {lowest:.5f} to the exact one, less than {LEAST_COSINE}."
    )
    return exact


def _cosines(one: Encoder, other: Encoder, texts: Sequence[str]) -> list[float]:
    """Return the cosine of each vector of one encoder with that of the other."""
    import numpy

    tokenized = one.tokenizer.tokenize(texts)
    pairs = zip(embed_texts(one, texts, tokenized), embed_texts(other, texts, tokenized), strict=True)
    found: list[float] = []
    for first, second in pairs:
        if isinstance(first, ModelFailedError) and isinstance(second, Embedding):
            found.append(-1.0)  # too large for reduced precision, or NaN there
        if isinstance(first, Embedding) and isinstance(second, Embedding):
            a, b = first.vectors.astype(numpy.float64), second.vectors.astype(numpy.float64)
            lengths = numpy.linalg.norm(a, axis=-1) * numpy.linalg.norm(b, axis=-1)
            found += numpy.atleast_1d((a * b).sum(axis=-1) / numpy.maximum(lengths, 1e-30)).tolist()
    return found
