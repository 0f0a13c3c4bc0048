"""Noise on the embeddings while training: NEFTune (Jain et al. 2023, arXiv 2310.05914)."""

from __future__ import annotations

import math
from typing import Any


def add_noise(model: Any, alpha: float) -> None:
    """Let the model's input embeddings come with uniform noise of size alpha / √(tokens · width) while it trains."""
    import torch

    def noisy(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        if not module.training:
            return output
        size = alpha / math.sqrt(output.shape[-2] * output.shape[-1])
        return output + torch.empty_like(output).uniform_(-size, size)

    model.get_input_embeddings().register_forward_hook(noisy)
