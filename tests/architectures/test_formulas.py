"""Formulas: they give the sizes of the real model, and of the models that other numbers would make."""

from __future__ import annotations

import pytest

from llmkit.architectures.building import build, configure
from llmkit.architectures.counting import count_architecture
from llmkit.architectures.folding import fold_parameters
from llmkit.architectures.formulas import evaluate, explain
from tests.architectures.explained import counted as count
from tests.architectures.explained import tensors

BERT_LARGE = {
    "model_type": "bert",
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
# Hidden size and number of positions are both 4,096: only the model's code tells them apart.
LLAMA_2 = {"model_type": "llama", "max_position_embeddings": 4096}
T5_BASE = {
    "model_type": "t5",
    "d_model": 768,
    "d_ff": 3072,
    "num_layers": 12,
    "num_decoder_layers": 12,
    "num_heads": 12,
}
GQA = {"model_type": "llama", "num_key_value_heads": 8, "num_attention_heads": 32}


def shape(values, name):
    tensor = tensors(**values)[name]
    return [dimension.formula for dimension in tensor.shape]


def repeats(values, name):
    return [dimension.formula for dimension in tensors(**values)[name].repeats]


def of(model_type, **values):
    return {"model_type": model_type, **values}


@pytest.mark.parametrize(
    ("values", "name", "expected"),
    [
        (BERT_LARGE, "embeddings.word_embeddings.weight", ["vocab_size", "hidden_size"]),
        (BERT_LARGE, "embeddings.position_embeddings.weight", ["max_position_embeddings", "hidden_size"]),
        (BERT_LARGE, "embeddings.token_type_embeddings.weight", ["type_vocab_size", "hidden_size"]),
        (BERT_LARGE, "encoder.layer.*.attention.self.query.weight", ["hidden_size", "hidden_size"]),
        (BERT_LARGE, "encoder.layer.*.intermediate.dense.weight", ["intermediate_size", "hidden_size"]),
        (of("roberta"), "embeddings.position_embeddings.weight", ["max_position_embeddings", "hidden_size"]),
        (of("gpt2"), "transformer.wpe.weight", ["n_positions", "n_embd"]),
        (of("gpt2"), "transformer.h.*.attn.c_attn.weight", ["n_embd", "3 × n_embd"]),
        (of("gpt2"), "transformer.h.*.mlp.c_fc.weight", ["n_embd", "4 × n_embd"]),
        (of("gpt2", n_inner=2048), "transformer.h.*.mlp.c_fc.weight", ["n_embd", "n_inner"]),
        (
            LLAMA_2,
            "model.layers.*.self_attn.q_proj.weight",
            ["num_attention_heads × head_dim", "hidden_size"],
        ),
        (LLAMA_2, "model.norm.weight", ["hidden_size"]),
        (GQA, "model.layers.*.self_attn.k_proj.weight", ["num_key_value_heads × head_dim", "hidden_size"]),
        (T5_BASE, "encoder.block.*.layer.0.SelfAttention.q.weight", ["num_heads × d_kv", "d_model"]),
        (
            T5_BASE,
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            ["relative_attention_num_buckets", "num_heads"],
        ),
        (of("albert"), "encoder.embedding_hidden_mapping_in.weight", ["hidden_size", "embedding_size"]),
        (
            of("mixtral"),
            "model.layers.*.mlp.experts.gate_up_proj",
            ["num_local_experts", "2 × intermediate_size", "hidden_size"],
        ),
        (of("vit"), "embeddings.position_embeddings", ["1", "(image_size / patch_size)² + 1", "hidden_size"]),
        (
            of("vit"),
            "embeddings.patch_embeddings.projection.weight",
            ["hidden_size", "num_channels", "patch_size", "patch_size"],
        ),
        (of("whisper"), "model.encoder.conv1.weight", ["d_model", "num_mel_bins", "3"]),
        (of("whisper"), "model.encoder.embed_positions.weight", ["max_source_positions", "d_model"]),
        (of("bart"), "model.encoder.embed_positions.weight", ["max_position_embeddings + 2", "d_model"]),
        (of("bart"), "model.decoder.layers.*.fc1.weight", ["decoder_ffn_dim", "d_model"]),
        (
            of("clip"),
            "vision_model.embeddings.position_embedding.weight",
            ["(vision_config.image_size / vision_config.patch_size)² + 1", "vision_config.hidden_size"],
        ),
        (of("clip"), "text_projection.weight", ["projection_dim", "text_config.hidden_size"]),
        (of("swin"), "encoder.layers.2.blocks.*.mlp.fc1.bias", ["4 × mlp_ratio × embed_dim"]),
        (of("phi3"), "lm_head.weight", ["vocab_size", "hidden_size"]),
    ],
)
def test_dimensions(values, name, expected):
    assert shape(values, name) == expected


@pytest.mark.parametrize(
    ("values", "name", "expected"),
    [
        (BERT_LARGE, "encoder.layer.*.attention.self.query.weight", ["num_hidden_layers"]),
        (T5_BASE, "encoder.block.*.layer.1.DenseReluDense.wi.weight", ["num_layers"]),
        (T5_BASE, "decoder.block.*.layer.2.DenseReluDense.wi.weight", ["num_decoder_layers"]),
        (of("swin"), "encoder.layers.2.blocks.*.mlp.fc1.weight", ["depths[2]"]),
        (
            of("albert"),
            "encoder.albert_layer_groups.*.albert_layers.*.ffn.bias",
            ["num_hidden_groups", "inner_group_num"],
        ),
        (of("deepseek_v3"), "model.layers.*.mlp.gate_proj.weight", ["first_k_dense_replace"]),
        (
            of("deepseek_v3"),
            "model.layers.*.mlp.experts.down_proj",
            ["num_hidden_layers − first_k_dense_replace"],
        ),
    ],
)
def test_what_copies_run_over(values, name, expected):
    assert repeats(values, name) == expected


# Other numbers, for which the formulas must predict the real model. (DeepSeek's first layers are dense.)
OTHERS = {
    "bert": {"hidden_size": 480, "num_attention_heads": 10, "vocab_size": 999, "num_hidden_layers": 3},
    "roberta": {"max_position_embeddings": 130, "intermediate_size": 1001, "type_vocab_size": 5},
    "gpt2": {"n_embd": 240, "n_head": 6, "n_positions": 77, "n_layer": 5, "vocab_size": 1234},
    "llama": {"hidden_size": 384, "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 384},
    "t5": {"d_model": 96, "d_kv": 40, "num_heads": 3, "d_ff": 200, "num_decoder_layers": 2},
    "albert": {"embedding_size": 64, "hidden_size": 320, "num_attention_heads": 5, "intermediate_size": 640},
    "mixtral": {"num_local_experts": 5, "intermediate_size": 72, "hidden_size": 96, "num_attention_heads": 6,
                "num_key_value_heads": 3, "num_hidden_layers": 2},
    "deepseek_v3": {"num_hidden_layers": 7, "first_k_dense_replace": 2, "n_routed_experts": 16, "kv_lora_rank": 40,
                    "qk_rope_head_dim": 24, "v_head_dim": 56, "num_attention_heads": 6, "num_key_value_heads": 6},
    "vit": {"image_size": 96, "patch_size": 12, "hidden_size": 132, "num_channels": 1},
    "whisper": {"d_model": 120, "encoder_layers": 2, "decoder_ffn_dim": 333, "num_mel_bins": 128},
    "bart": {"d_model": 64, "max_position_embeddings": 100, "encoder_ffn_dim": 99, "decoder_layers": 3},
    "swin": {"embed_dim": 48, "depths": [1, 2, 3, 1], "mlp_ratio": 3.0, "num_channels": 1},
    "convnext": {"hidden_sizes": [24, 40, 72, 88], "depths": [2, 1, 2, 1]},
    "mamba": {"hidden_size": 96, "state_size": 9, "expand": 3, "conv_kernel": 5, "num_hidden_layers": 2},
    "falcon": {"hidden_size": 640, "num_attention_heads": 10, "num_hidden_layers": 2},
    "phi3": {"hidden_size": 384, "num_attention_heads": 12, "num_key_value_heads": 4},
    "gpt_bigcode": {"n_embd": 320, "n_head": 5, "n_inner": None},
}  # fmt: skip


@pytest.mark.parametrize("model_type", OTHERS)
def test_formulas_predict_the_model_of_another_config(model_type):
    explained = tensors(model_type)
    values = {"model_type": model_type, **OTHERS[model_type]}
    config = configure(values).to_dict()
    real = {tensor.name: tensor for tensor in fold_parameters(build(values))}
    compared = 0
    for name in explained.keys() & real.keys():
        for part in ("shape", "repeats"):
            predicted = [evaluate(dimension.formula, config) for dimension in getattr(explained[name], part)]
            assert predicted == [dimension.size for dimension in getattr(real[name], part)], name
        compared += 1
    # Where a list has become one of a single layer, or the like, names change; most must be there.
    assert compared > 0.8 * len(explained)


def assert_all_hold(counted):
    for tensor in counted.tensors:
        for dimension in (*tensor.shape, *tensor.repeats):
            assert evaluate(dimension.formula, counted.config) == dimension.size, (tensor.name, dimension)


# Architectures in which every size follows from the config.
FULLY_EXPLAINED = """
albert aria bart beit bert bert-generation big_bird bigbird_pegasus biogpt bitnet bloom camembert
clip codegen cohere deberta-v2 deepseek_v3 distilbert electra falcon fnet gemma gemma3 glm4 gpt_neox
gptj gpt_oss jamba llama llava longformer mamba mamba2 mbart mixtral modernbert mpt olmo opt pegasus
phi3 qwen2 qwen2_vl qwen3 qwen3_moe roberta siglip starcoder2 switch_transformers t5 vit wav2vec2
whisper xlnet
"""


@pytest.mark.parametrize("model_type", FULLY_EXPLAINED.split())
def test_every_size_is_explained(model_type):
    counted = count(model_type)
    assert_all_hold(counted)
    unexplained = [
        (tensor.name, dimension.formula)
        for tensor in counted.tensors
        for dimension in tensor.shape
        if dimension.size > 4 and dimension.formula == f"{dimension.size:,}"
    ]
    assert unexplained == []


@pytest.mark.parametrize("model_type", ["bert", "llama", "t5", "clip", "swin", "mixtral", "resnet"])
def test_without_rebuilding_formulas_hold_too(model_type):
    config = configure({"model_type": model_type})
    counted = count_architecture({"model_type": model_type}, formulas=False)
    explained = explain(counted.tensors, config, None)
    assert [tensor.sizes for tensor in explained] == [tensor.sizes for tensor in counted.tensors]
    named = 0
    for tensor in explained:
        for dimension in (*tensor.shape, *tensor.repeats):
            assert evaluate(dimension.formula, config) == dimension.size
            named += not dimension.formula[0].isdigit()
    assert named > len(explained)


def test_without_rebuilding_a_table_of_positions_has_positions():
    config = configure({"model_type": "bert", "max_position_embeddings": 768})
    tensors = count_architecture(config.to_dict(), formulas=False).tensors
    explained = {tensor.name: tensor for tensor in explain(tensors, config, None)}
    table = explained["embeddings.position_embeddings.weight"].shape
    assert [dimension.formula for dimension in table] == ["max_position_embeddings", "hidden_size"]


def test_a_rebuild_that_always_fails_is_as_none():
    config = configure({"model_type": "bert"})
    tensors = count_architecture({"model_type": "bert"}, formulas=False).tensors

    def fails(changed):
        raise RuntimeError

    assert explain(tensors, config, fails) == explain(tensors, config, None)


@pytest.mark.parametrize("formula", ["hiden_size", "text_config.hidden_size"])
def test_a_name_that_the_config_does_not_have(formula):
    with pytest.raises(KeyError):
        evaluate(formula, {"hidden_size": 3})
