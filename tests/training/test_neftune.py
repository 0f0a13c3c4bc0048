"""NEFTune: bounded noise on the embeddings, while training only."""

from __future__ import annotations

import math
from types import SimpleNamespace

import torch

from llmkit.training.neftune import add_noise


def test_the_noise_is_uniform_bounded_and_for_training_only() -> None:
    torch.manual_seed(0)
    embeddings = torch.nn.Embedding(10, 16)
    add_noise(SimpleNamespace(get_input_embeddings=lambda: embeddings), alpha=5.0)
    ids = torch.arange(8).repeat(4, 1)

    noise = (embeddings(ids) - embeddings.weight[ids]).detach()

    bound = 5.0 / math.sqrt(8 * 16)
    assert 0.9 * bound < noise.abs().max() <= bound + 1e-6
    assert abs(noise.mean()) < 0.1 * bound
    embeddings.eval()
    assert torch.equal(embeddings(ids), embeddings.weight[ids])
