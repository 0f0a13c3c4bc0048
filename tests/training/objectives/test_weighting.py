"""The weights of classes, and the loss of a choice among a few options."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from llmkit.errors import UsageError
from llmkit.training.objectives.weighting import choice_loss, class_weights


class TestClassWeights:
    def test_all_alike(self) -> None:
        assert class_weights(None, ["a", "b"], {"a": 3, "b": 1}) is None

    def test_balanced(self) -> None:
        assert class_weights("balanced", ["a", "b", "unseen"], {"a": 3, "b": 1}) == [4 / 9, 4 / 3, 4 / 3]

    def test_given(self) -> None:
        assert class_weights([2.0, 1.0], ["a", "b"], {}) == [2.0, 1.0]
        with pytest.raises(UsageError, match="1 weights for 2 classes: a, b"):
            class_weights([2.0], ["a", "b"], {})


class TestChoiceLoss:
    LOGITS = torch.tensor([[0.5, -1.0, 2.0], [1.0, 3.0, -2.0]])
    TARGETS = torch.tensor([2, 0])

    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_is_cross_entropy(self, smoothing: float) -> None:
        expected = functional.cross_entropy(
            self.LOGITS, self.TARGETS, label_smoothing=smoothing, reduction="sum"
        )
        assert choice_loss(self.LOGITS, self.TARGETS, None, smoothing) == pytest.approx(float(expected))

    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_padding_is_no_option(self, smoothing: float) -> None:
        padded = torch.cat([self.LOGITS, torch.full((2, 2), 50.0)], dim=1).requires_grad_()
        allowed = torch.tensor([[1, 1, 1, 0, 0]] * 2)
        loss = choice_loss(padded, self.TARGETS, allowed, smoothing)
        alone = choice_loss(self.LOGITS, self.TARGETS, None, smoothing)
        assert float(loss.detach()) == pytest.approx(float(alone))
        loss.backward()
        assert padded.grad is not None
        assert torch.isfinite(padded.grad).all()
        assert not padded.grad[:, 3:].any()
