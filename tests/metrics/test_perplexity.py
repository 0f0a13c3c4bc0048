"""Perplexity against its definition, with PyTorch's cross entropy."""

import math

import pytest
import torch

from llmkit.errors import DataError
from llmkit.metrics import load_metric


def test_equals_exp_of_the_mean_over_all_tokens():
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 7, 11, dtype=torch.float64), torch.randint(11, (3, 7))
    labels[0, 3:] = -100
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    metric = load_metric("perplexity")
    metric.update(losses.sum(1), (labels != -100).sum(1))
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    assert metric.compute()["perplexity"] == pytest.approx(expected.exp().item(), rel=1e-14)
    details = metric.details()
    assert details["tokens"] == 17
    assert details["cross_entropy"] == pytest.approx(expected.item())
    assert details["bits_per_token"] == pytest.approx(expected.item() / math.log(2))


def test_one_sum_is_a_batch():
    metric = load_metric("perplexity")
    metric.update(torch.tensor(10.0), 5)
    metric.update(2.0, 1)
    assert metric.compute()["perplexity"] == math.exp(2)


def test_more_than_a_float_holds():
    metric = load_metric("perplexity")
    metric.update([1e6], [1])
    assert metric.compute()["perplexity"] == math.inf


def test_no_tokens():
    metric = load_metric("perplexity")
    metric.update([0.0], [0])
    assert math.isnan(metric.compute()["perplexity"])
    assert "no tokens" in metric.notes()[0]


@pytest.mark.parametrize("tokens", [-1, 0.5, math.nan])
def test_bad_number_of_tokens(tokens):
    with pytest.raises(DataError, match="number of tokens"):
        load_metric("perplexity").update([1.0], [tokens])
