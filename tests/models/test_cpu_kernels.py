"""oneDNN for float32 layers: the same results, and gradients as before."""

from __future__ import annotations

import pytest
import torch

from llmkit.models import cpu_kernels
from llmkit.models.cpu_kernels import speed_up_linear_layers


@pytest.fixture
def held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_kernels, "mkl_is_held_back", lambda: True)
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch is built without oneDNN")


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(48, 96), torch.nn.GELU(), torch.nn.Linear(96, 8, bias=False)).eval()


@pytest.mark.parametrize("shape", [(48,), (1, 48), (7, 48), (3, 50, 48)])
def test_results_are_those_of_the_plain_layer(held_back: None, shape: tuple[int, ...]) -> None:
    plain, fast = model(), model()
    assert speed_up_linear_layers(fast) == 2
    x = torch.randn(shape)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), plain(x), atol=1e-6, rtol=1e-5)


def test_gradients_are_those_of_the_plain_layer(held_back: None) -> None:
    plain, fast = model(), model()
    speed_up_linear_layers(fast)
    x = torch.randn(9, 48)
    for each in (plain, fast):
        each(x).square().sum().backward()
    for one, other in zip(plain.parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_a_model_moved_to_another_dtype_still_computes(held_back: None) -> None:
    fast = model()
    speed_up_linear_layers(fast)
    with torch.no_grad():
        assert fast.to(torch.bfloat16)(torch.randn(9, 48, dtype=torch.bfloat16)).dtype is torch.bfloat16


def test_nothing_changes_where_mkl_is_not_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_kernels, "mkl_is_held_back", lambda: False)
    untouched = model()
    assert speed_up_linear_layers(untouched) == 0
    assert "forward" not in vars(untouched[0])


def test_a_subclass_keeps_its_forward(held_back: None) -> None:
    class Doubling(torch.nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
            return 2 * super().forward(input)

    layer = Doubling(4, 4)
    assert speed_up_linear_layers(layer) == 0
