"""oneDNN for linear layers: the same results, and gradients as before."""

from __future__ import annotations

import copy
import pickle

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
    return torch.nn.Sequential(
        torch.nn.Linear(48, 96), torch.nn.GELU(), torch.nn.Linear(96, 8, bias=False)
    ).eval()


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


def test_weights_that_change_are_heeded(held_back: None) -> None:
    plain, fast = model(), model()
    speed_up_linear_layers(fast)
    x = torch.randn(9, 48)
    with torch.no_grad():
        for each in (plain, fast):
            each[0].weight.mul_(2)
        torch.testing.assert_close(fast(x), plain(x), atol=1e-6, rtol=1e-5)
        for each in (plain, fast):
            each[2].weight = torch.nn.Parameter(torch.ones(8, 96))
        torch.testing.assert_close(fast(x), plain(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_copy_computes_with_its_own_weights(held_back: None, copied) -> None:
    fast = model()
    speed_up_linear_layers(fast)
    other = copied(fast)
    x = torch.randn(9, 48)
    with torch.no_grad():
        expected = fast(x)
        fast[0].weight.zero_()
        torch.testing.assert_close(other(x), expected)


def test_large_models_keep_their_weights_once(held_back: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_kernels, "_MOST_PACKED_BYTES", 1000)
    plain, fast = model(), model()
    assert speed_up_linear_layers(fast) == 2
    assert fast[0] not in cpu_kernels._PACKED
    x = torch.randn(9, 48)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), plain(x), atol=1e-6, rtol=1e-5)


def test_bfloat16_where_the_processor_multiplies_it(monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch is built without oneDNN")
    for abilities, layers in ((frozenset(), 0), (frozenset({"avx512_bf16"}), 2)):
        monkeypatch.setattr(cpu_kernels, "processor", lambda abilities=abilities: ("", abilities))
        plain, fast = model().bfloat16(), model().bfloat16()
        assert speed_up_linear_layers(fast) == layers
        x = torch.randn(9, 48).bfloat16()
        with torch.no_grad():
            torch.testing.assert_close(fast(x), plain(x), atol=0.02, rtol=0.02)


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
