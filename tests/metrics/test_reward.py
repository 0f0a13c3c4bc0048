"""Rewards of chosen answers against rejected ones."""

import pytest

from llmkit.metrics import load_metric


def test_accuracy_and_margin():
    metric = load_metric("reward")
    metric.update([1.0, 0.5, -2.0, 3.0], [0.0, 0.5, -1.0, 2.5])
    assert metric.compute() == pytest.approx({"reward_accuracy": 0.5, "reward_margin": 0.125})
