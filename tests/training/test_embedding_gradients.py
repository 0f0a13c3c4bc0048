"""Embeddings whose gradient is added up row for row: the same gradient as torch's own."""

from __future__ import annotations

import pytest
import torch

from llmkit.training.embedding_gradients import add_rows_alone

VOCABULARY, WIDTH = 1024, 256


def embedding(**settings: object) -> torch.nn.Embedding:
    torch.manual_seed(0)
    return torch.nn.Embedding(VOCABULARY, WIDTH, **settings)  # type: ignore[arg-type]


def gradient_of(module: torch.nn.Module, batches: list[torch.Tensor]) -> torch.Tensor:
    """Add up the gradients of some batches, each token's weighted by its place."""
    for ids in batches:
        rows = module(ids)
        (rows * torch.linspace(-1, 1, rows.numel()).view_as(rows)).sum().backward()
    weight = module.weight
    assert isinstance(weight, torch.nn.Parameter)
    assert weight.grad is not None
    return weight.grad


@pytest.mark.parametrize("padding", [None, 0])
def test_the_gradient_of_several_batches(padding: int | None) -> None:
    batches = [
        torch.randint(VOCABULARY, (3, 7), generator=torch.Generator().manual_seed(seed)) for seed in range(3)
    ]
    batches[1][:, 4:] = 0
    own = embedding(padding_idx=padding)
    assert add_rows_alone(own) == 1

    assert torch.equal(own(batches[0]), embedding(padding_idx=padding)(batches[0]))
    expected = gradient_of(embedding(padding_idx=padding), batches)
    torch.testing.assert_close(gradient_of(own, batches), expected, rtol=1e-6, atol=1e-6)
    assert bool(expected[0].any()) == (padding is None)


def test_a_head_that_is_tied_to_it_adds_to_the_same_gradient() -> None:
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = embedding()
            self.weight = self.embedding.weight

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.embedding(ids) @ self.weight.T / VOCABULARY

    batches = [torch.tensor([[1, 2, 2]]), torch.tensor([[2, 9, 1]])]
    plain, own = Tied(), Tied()
    assert add_rows_alone(own) == 1
    torch.testing.assert_close(gradient_of(own, batches), gradient_of(plain, batches), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", [{"sparse": True}, {"max_norm": 1.0}, {"scale_grad_by_freq": True}])
def test_what_is_not_plain_is_left_alone(settings: dict[str, object]) -> None:
    assert add_rows_alone(embedding(**settings)) == 0


def test_what_is_frozen_or_small_is_left_alone() -> None:
    assert add_rows_alone(embedding().requires_grad_(False)) == 0
    assert add_rows_alone(torch.nn.Embedding(16, 16)) == 0
