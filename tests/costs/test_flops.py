"""The FLOPs of a token: 6·N and its kin, against the papers' formulas and against a counted forward pass."""

from __future__ import annotations

import pytest

from llmkit.architectures.compute import attention_flops, forward_flops, layer_flops
from llmkit.costs.flops import flops_figures, token_flops
from llmkit.errors import UsageError
from llmkit.figures import Span


def test_6_n(count):
    gpt3 = count("gpt-3-175b")
    each = token_flops(gpt3, 2048)
    assert each.model == 6 * gpt3.total
    # PaLM's appendix B: 6·N + 12·L·H·Q·T
    assert each.with_attention == 6 * gpt3.total + 12 * 96 * 96 * 128 * 2048


def test_near_to_three_times_the_forward_pass(count):
    """6·N takes a table that is looked up for one that is multiplied by, and a bias for a matrix: a percent or two."""
    for name in ("gpt2-xl", "llama-2-7b", "bloom-176b", "bert-large"):
        counted = count(name).counted
        exact = 3 * forward_flops(counted, sequence_length=512) / 512
        assert token_flops(count(name), 512).with_attention == pytest.approx(exact, rel=0.12), name


def test_a_mixture_takes_what_is_active(count):
    mixtral = count("mixtral-8x7b")
    assert token_flops(mixtral, 4096).model == pytest.approx(6 * 12_879_925_248)


def test_a_shared_layer_takes_as_often_as_it_is_run(count):
    albert = count("albert-base-v2")
    assert token_flops(albert, 512).met > 6 * albert.total


def test_a_token_meets_the_encoder_or_the_decoder(count):
    t5 = count("t5-11b")
    each = token_flops(t5, 512)
    assert each.model == pytest.approx(3 * t5.total) and each.is_halved
    assert "appendix D" in flops_figures(t5, each, Span.exact(1e12))[0].source


def test_what_is_computed_again(count):
    """Korthikanti et al. 2022: selectively, attention's s/6h more; fully, a forward pass of the layers."""
    gpt3 = count("gpt-3-175b")
    plain, selective, full = (token_flops(gpt3, 2048, way) for way in ("none", "selective", "full"))
    assert plain.computed == plain.with_attention
    assert selective.again == pytest.approx(attention_flops(gpt3.counted, sequence_length=2048) / 2048)
    assert full.again == pytest.approx(layer_flops(gpt3.counted, sequence_length=2048) / 2048)
    assert full.computed / plain.computed == pytest.approx(4 / 3, rel=0.01)
    # Their formula for the two: 1 + s/6h against 1 + s/3h, the vocabulary left out of both.
    assert selective.computed / plain.computed == pytest.approx(
        (1 + 2048 / 3 / 12288) / (1 + 2048 / 6 / 12288), rel=0.02
    )


def test_adapters_spare_the_gradients_of_frozen_matrices(count):
    adapted = count("llama-2-7b", lora="r=8")
    each = token_flops(adapted, 4096)
    assert each.model == 4 * 6_738_415_616 + 6 * 4_194_304
    assert each.attention == token_flops(count("llama-2-7b"), 4096).attention
    assert "adapters" in flops_figures(adapted, each, Span.exact(1e9))[0].formula


def test_the_length_is_what_the_model_takes_and_not_more_than_8192(count):
    assert token_flops(count("gpt2"), None).sequence_length == 1024
    assert token_flops(count("llama-3.1-405b"), None).sequence_length == 8192
    assert token_flops(count("chinchilla-70b"), None).sequence_length == 8192


def test_the_total_comes_first_and_all_follow_from_it(count):
    figures = flops_figures(count("gpt2"), token_flops(count("gpt2"), 1024, "full"), Span.exact(1e9))
    assert [each.key for each in figures] == [
        "training_flops",
        "training_flops_with_attention",
        "computed_flops",
    ]
    values = [each.amount.of("FLOPs") for each in figures]
    assert values == sorted(values)
    assert all(each.formula and each.source for each in figures)


@pytest.mark.parametrize("name", ["vit-base", "whisper-small", "llava-1.5-7b"])
def test_a_model_of_another_kind_is_refused(count, name):
    with pytest.raises(UsageError, match="not counted in tokens of text"):
        token_flops(count(name), None)
