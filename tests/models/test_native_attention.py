"""Our own attention against PyTorch's in float64, whatever the shapes, the layout, and who may look at whom."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmkit.models.native_attention import (
    attend,
    has_native_attention,
    takes,
    texts_of_mask,
    texts_side_by_side,
    whole_rows,
)

LENGTHS = st.one_of(st.integers(1, 20), st.integers(1, 200), st.sampled_from([63, 64, 65, 128, 600]))
quickly = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def tensors(generator, dtype, rows, heads, queries, keys, size, layout):
    """Query, key and value, (rows, heads, tokens, size), as projections leave them."""
    if layout == "one product" and queries == keys:
        made = torch.randn(rows, queries, 3, heads, size, generator=generator).to(dtype)
        return [each.transpose(1, 2) for each in made.unbind(2)]
    if layout == "heads first":
        return [
            torch.randn(rows, heads, n, size, generator=generator).to(dtype) for n in (queries, keys, keys)
        ]
    return [
        torch.randn(rows, n, heads, size, generator=generator).to(dtype).transpose(1, 2)
        for n in (queries, keys, keys)
    ]


def expected(query, key, value, scale, mask=None):
    """(rows, tokens, heads, size) in float64; zeros where there is no key to look at."""
    found = torch.nn.functional.scaled_dot_product_attention(
        query.double(), key.double(), value.double(), attn_mask=mask, scale=scale
    )
    if mask is not None:
        found = torch.where(mask.any(-1, keepdim=True), found, 0.0)
    return found.transpose(1, 2)


def assert_near(given, wanted, value, largest_score=0.0):
    # What a float32 score of that size is off by in its last bits, its weight is off by as a share; bfloat16 keeps
    # eight bits: weights and results are rounded to it.
    share = max(1e-5, 4 * 2**-23 * largest_score) if given.dtype is torch.float32 else 1e-2
    torch.testing.assert_close(
        given.double(), wanted, atol=share * max(1.0, float(value.abs().max())), rtol=share
    )


@quickly
@given(data=st.data())
def test_it_is_that_of_pytorch(native, data):
    dtype = data.draw(st.sampled_from([torch.float32, torch.bfloat16]), label="dtype")
    if not has_native_attention(dtype):
        dtype = torch.float32
    rows, heads = data.draw(st.integers(1, 3), label="rows"), data.draw(st.integers(1, 3), label="heads")
    queries = data.draw(LENGTHS, label="queries")
    keys = data.draw(st.one_of(st.just(queries), LENGTHS), label="keys")
    size = data.draw(st.sampled_from([16, 32, 48, 64, 128, 256]), label="size")
    layout = data.draw(st.sampled_from(["one product", "three", "heads first"]), label="layout")
    scale = data.draw(st.sampled_from([size**-0.5, 1.0, 1e-3]), label="scale")
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000), label="seed"))
    query, key, value = tensors(generator, dtype, rows, heads, queries, keys, size, layout)
    mask, texts = None, whole_rows(rows, queries, keys)
    if data.draw(st.booleans(), label="masked"):
        first = torch.tensor(data.draw(st.lists(st.integers(0, keys), min_size=rows, max_size=rows)))
        last = torch.tensor(data.draw(st.lists(st.integers(0, keys), min_size=rows, max_size=rows)))
        places = torch.arange(keys)
        mask = ((places >= first[:, None]) & (places < last[:, None]))[:, None, None]
        texts = texts_of_mask(mask, rows, queries)
    with torch.no_grad():
        if not takes(query, key, value):
            assert (
                layout == "heads first" and rows > 1
            )  # a row's tokens do not follow those of the one before
            return
        given_ = attend(query, key, value, texts, scale)
    largest = float((scale * query.double() @ key.double().mT).abs().max())
    assert_near(given_, expected(query, key, value, scale, mask), value, largest)


@quickly
@given(
    lengths=st.lists(LENGTHS, min_size=1, max_size=5), size=st.sampled_from([32, 64]), seed=st.integers(0, 99)
)
def test_of_texts_side_by_side_none_sees_another(native, lengths, size, seed):
    generator = torch.Generator().manual_seed(seed)
    query, key, value = tensors(
        generator, torch.float32, 1, 2, sum(lengths), sum(lengths), size, "one product"
    )
    places = torch.tensor([0, *lengths]).cumsum(0).int()
    together = attend(query, key, value, texts_side_by_side(places), size**-0.5)
    parts = zip(*(each.split(lengths, dim=2) for each in (query, key, value)), strict=True)
    alone = torch.cat([expected(*part, size**-0.5) for part in parts], dim=1)
    assert_near(together, alone, value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_large_scores_and_equal_ones(native, dtype):
    if not has_native_attention(dtype):
        pytest.skip("no bfloat16 here")
    query = torch.full((1, 1, 70, 32), 30.0, dtype=dtype)
    key = torch.linspace(-30, 30, 70).to(dtype)[None, None, :, None].expand(1, 1, 70, 32).contiguous()
    value = torch.randn(1, 1, 70, 32).to(dtype)
    for keys in (key, torch.zeros_like(key)):
        given_ = attend(query, keys, value, whole_rows(1, 70, 70), 1.0)
        assert_near(given_, expected(query, keys, value, 1.0), value)


@pytest.mark.parametrize("place", range(3))
def test_what_is_no_number_stays_none(native, place):
    inputs = [torch.randn(1, 1, 40, 32) for _ in range(3)]
    inputs[place][0, 0, 7, 3] = float("nan")
    given_ = attend(*inputs, whole_rows(1, 40, 40), 1.0)
    wanted = torch.nn.functional.scaled_dot_product_attention(*inputs, scale=1.0).transpose(1, 2)
    assert torch.equal(given_.isnan(), wanted.isnan())


def test_several_threads_give_the_same(native, monkeypatch):
    inputs = [torch.randn(3, 5, 90, 32).transpose(1, 2).contiguous().transpose(1, 2) for _ in range(3)]
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        results.append(attend(*inputs, whole_rows(3, 90, 90), 0.2))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_what_it_does_not_take(native):
    good = torch.randn(2, 10, 4, 32).transpose(1, 2)
    other = torch.randn(2, 10, 4, 24).transpose(1, 2)
    with torch.no_grad():
        assert takes(good, good, good)
        assert not takes(other, other, other)
        assert not takes(good, good[:, :2], good[:, :2])  # a head of keys for two of queries
        assert not takes(good, good, good.half())
        assert not takes(good, good, good[:, :, ::2])
        assert not takes(good.double(), good.double(), good.double())
        assert not takes(good.flip(3).transpose(2, 3), good, good)
    assert not takes(good, good, good)  # gradients


def test_masks_with_holes_are_not_runs():
    mask = torch.tensor([[True, False, True], [True, True, True]])[:, None, None]
    assert texts_of_mask(mask, 2, 3) is None
    assert texts_of_mask(mask.float(), 2, 3) is None
    assert texts_of_mask(torch.ones(2, 1, 3, 3, dtype=torch.bool), 2, 3) is None
    left = torch.tensor([[False, True, True], [False, False, False]])[:, None, None]
    assert texts_of_mask(left, 2, 3).tolist()[0] == [0, 3, 1, 2]
    assert texts_of_mask(left, 2, 3)[1, 3] == 0
