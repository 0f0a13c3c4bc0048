"""Mixtures of experts: what one token meets."""

from __future__ import annotations

import pytest
from torch import nn

from llmkit.architectures.building import configure
from llmkit.architectures.catalogue import find
from llmkit.architectures.counting import count_architecture
from llmkit.architectures.experts import chosen_experts, experts_in

DBRX = {
    "model_type": "dbrx",
    "d_model": 6144,
    "n_heads": 48,
    "n_layers": 40,
    "vocab_size": 100_352,
    "attn_config": {"kv_n_heads": 8, "clip_qkv": 8, "rope_theta": 500_000},
    "ffn_config": {"ffn_hidden_size": 10_752, "moe_num_experts": 16, "moe_top_k": 4},
}


def count(config):
    return count_architecture(config, formulas=False)


def routed(counted):
    return {tensor.name: tensor.active for tensor in counted.tensors if tensor.active != 1}


def test_mixtral_to_the_last_number():
    """1,605,636,096 that every token meets, and 2 of 8 experts of 45,097,156,608 in all."""
    counted = count(dict(find("mixtral-8x7b").config))
    experts = [tensor for tensor in counted.tensors if tensor.active != 1]
    assert sum(tensor.total for tensor in experts) == 45_097_156_608
    assert counted.total - 45_097_156_608 == 1_605_636_096
    assert counted.active == 12_879_925_248


@pytest.mark.parametrize(
    ("name", "published", "tolerance"),
    [
        ("deepseek-v2", 21e9, 0.025),  # DeepSeek-AI 2024, arXiv 2405.04434
        ("deepseek-v3", 37e9, 0.025),  # DeepSeek-AI 2024, arXiv 2412.19437
        ("olmoe-1b-7b", 1.3e9, 0.025),  # Muennighoff et al. 2024, arXiv 2409.02060
        ("qwen3-30b-a3b", 3.3e9, 0.025),  # Qwen Team 2025, arXiv 2505.09388
        ("qwen3-235b-a22b", 22e9, 0.025),
    ],
)
def test_active_parameters_as_published(name, published, tolerance):
    assert count(dict(find(name).config)).active == pytest.approx(published, rel=tolerance)


@pytest.mark.parametrize(("name", "published"), [("gpt-oss-20b", 3.61e9), ("gpt-oss-120b", 5.13e9)])
def test_gpt_oss_counts_no_embeddings(name, published):
    """The model card (OpenAI 2025, arXiv 2508.10925, table 1) leaves the token embeddings out."""
    counted = count(dict(find(name).config))
    embeddings = next(tensor for tensor in counted.tensors if tensor.first == "model.embed_tokens.weight")
    assert counted.active - embeddings.total == pytest.approx(published, rel=0.005)


def test_qwen2_moe_has_a_shared_expert():
    """The defaults are those of Qwen1.5-MoE-A2.7B: 4 of 60 experts, and one that all tokens meet."""
    counted = count({"model_type": "qwen2_moe"})
    assert counted.active == pytest.approx(2.7e9, rel=0.01)
    assert set(routed(counted).values()) == {4 / 60}
    assert not any("shared_expert" in name for name in routed(counted))


def test_experts_that_lie_one_below_the_other_in_a_matrix():
    """DBRX (Databricks 2024): 132B, of which 36B are active."""
    counted = count(DBRX)
    assert counted.total == pytest.approx(132e9, rel=0.005)
    assert counted.active == pytest.approx(36e9, rel=0.02)
    assert set(routed(counted).values()) == {4 / 16}


def test_experts_that_are_modules():
    """Switch sends a token to one expert, which no value of the config says."""
    counted = count({"model_type": "switch_transformers", "num_experts": 16})
    assert set(routed(counted).values()) == {1 / 16}
    assert all(".experts.expert_*." in name for name in routed(counted))


@pytest.mark.parametrize(
    ("model_type", "met_by_all"),
    [
        ("mixtral", "model.layers.*.mlp.gate.weight"),
        ("deepseek_v3", "model.layers.*.mlp.shared_experts.down_proj.weight"),
        ("deepseek_v3", "model.layers.*.mlp.down_proj.weight"),
        ("gpt_oss", "model.layers.*.mlp.router.bias"),
        ("jetmoe", "model.layers.*.self_attention.experts.router.layer.weight"),
        ("jetmoe", "model.layers.*.self_attention.experts.bias"),
        ("jamba", "model.layers.*.feed_forward.up_proj.weight"),
    ],
)
def test_what_every_token_meets(model_type, met_by_all):
    counted = count({"model_type": model_type})
    assert met_by_all in {tensor.name for tensor in counted.tensors}
    assert met_by_all not in routed(counted)
    assert routed(counted)


def test_a_bias_of_an_expert_is_routed_too():
    assert routed(count({"model_type": "gpt_oss"}))["model.layers.*.mlp.experts.gate_up_proj_bias"] == 4 / 128


def test_a_shared_class_of_experts_is_routed_where_it_is_not_the_shared_one():
    """GraniteMoeShared's routed experts are of a class GraniteMoeSharedExperts."""
    assert set(routed(count({"model_type": "granitemoeshared"})).values()) == {2 / 8}


def test_a_dense_model_is_all_active():
    counted = count({"model_type": "llama"})
    assert counted.active == counted.total


def test_no_more_than_all_experts_are_met():
    counted = count({"model_type": "mixtral", "num_experts_per_tok": 8})
    assert counted.active == counted.total


@pytest.mark.parametrize(
    ("model_type", "chosen"), [("mixtral", 2), ("switch_transformers", 1), ("nllb-moe", 2), ("bert", None)]
)
def test_how_many_experts_are_chosen(model_type, chosen):
    assert chosen_experts(configure({"model_type": model_type})) == chosen


def test_a_list_of_modules_named_experts():
    around = experts_in(nn.ModuleList([nn.Linear(2, 2)] * 6), "layer.experts", None)
    assert (around.count, around.are_modules) == (6, True)
    assert experts_in(nn.Linear(2, 2), "layer.experts.0", around) is around
    assert experts_in(nn.Linear(2, 2), "layer.shared_experts", around) is None
