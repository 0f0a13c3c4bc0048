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


@pytest.fixture
def bfloat16_model(tiny):
    from transformers import AutoModel, AutoTokenizer

    folder = tiny("text-classification")
    load = lambda: AutoModel.from_pretrained(folder, dtype=torch.bfloat16).eval()  # noqa: E731
    return load(), load(), AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("side", ["right", "left"])
def test_attention_in_chunks_gives_what_fused_attention_gives(bfloat16_model, side, monkeypatch) -> None:
    plain, chunked, tokenizer = bfloat16_model
    assert cpu_kernels.speed_up_attention(chunked)
    calls = []
    attend = cpu_kernels._chunked_attention
    from transformers import AttentionInterface

    AttentionInterface.register(
        "llmkit_chunked", lambda *args, **kwargs: calls.append(1) or attend(*args, **kwargs)
    )
    monkeypatch.setattr(cpu_kernels, "_SCORES_BYTES", 1)  # a row a chunk
    tokenizer.padding_side = side
    inputs = tokenizer(
        ["Angela Merkel met the president in Paris", "Paris", "the bank"], padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        expected, given = plain(**inputs)[0], chunked(**inputs)[0]
    real = inputs["attention_mask"].bool()
    # bfloat16 keeps eight bits: two orders of summation differ in the last.
    torch.testing.assert_close(given[real], expected[real], atol=0.06, rtol=0.05)
    assert calls


def test_attention_is_left_alone_in_float32(tiny) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(tiny("text-classification"))
    assert not cpu_kernels.speed_up_attention(model)
    assert model.config._attn_implementation == "sdpa"


def test_a_causal_model_generates_the_same_in_chunks(tiny) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny("text-generation")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer("Paris is", return_tensors="pt")
    outputs = []
    for speed_up in (False, True):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
        if speed_up:
            cpu_kernels.speed_up_attention(model)
        outputs.append(model.generate(**inputs, do_sample=False, max_new_tokens=5).tolist())
    assert outputs[0] == outputs[1]
