"""The moving average of the weights: what the formula says, in the model only while it is judged."""

from __future__ import annotations

import torch

from llmkit.training.averaging import WeightAverage


def test_the_average_follows_the_formula() -> None:
    model = torch.nn.Linear(2, 1)
    average = WeightAverage(model, decay=0.5)
    expected = model.weight.detach().clone()

    for step in range(1, 6):
        with torch.no_grad():
            model.weight.add_(step)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.weight.detach()

    own = model.weight.detach().clone()
    with average.in_place():
        torch.testing.assert_close(model.weight.detach(), expected)
    torch.testing.assert_close(model.weight.detach(), own, rtol=0, atol=0)


def test_it_goes_through_a_checkpoint() -> None:
    model = torch.nn.Linear(2, 1)
    first, second = WeightAverage(model, 0.9), WeightAverage(torch.nn.Linear(2, 1), 0.9)

    second.restore(first.tensors())

    for name, tensor in second.tensors().items():
        assert torch.equal(tensor, first.tensors()[name])


def test_frozen_weights_are_left_out() -> None:
    model = torch.nn.Linear(2, 1)
    model.bias.requires_grad_(False)

    assert list(WeightAverage(model, 0.9).tensors()) == ["average.weight"]
