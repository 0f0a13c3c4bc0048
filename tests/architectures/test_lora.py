"""LoRA's count is that of peft on the real model."""

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

from llmkit.architectures.counting import count_architecture  # noqa: E402
from llmkit.architectures.lora import LoraSpec, apply, default_targets, parse  # noqa: E402
from llmkit.errors import UsageError  # noqa: E402
from tests.architectures.small_models import CONFIGS, counted, real  # noqa: E402
from tests.fixtures.versions import UNKNOWN_EXPERTS  # noqa: E402

GPT_OSS = {
    "model_type": "gpt_oss", "vocab_size": 97, "hidden_size": 64, "intermediate_size": 48,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "num_local_experts": 4, "num_experts_per_tok": 2, "pad_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
SIDES = {"mixtral": {(64, 352), (176, 64)}, "gpt_oss": {(64, 96), (48, 64)}}


def by_peft(name, r, targets, head=None):
    """Trainable and all numbers of the real model under peft."""
    if targets is not None and len(targets) == 1 and targets[0] == "all-linear":
        targets = targets[0]
    config = peft.LoraConfig(
        r=r, target_modules=targets if isinstance(targets, str | None) else list(targets)
    )
    return peft.get_peft_model(real(name, head), config).get_nb_trainable_parameters()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "targets"),
    [
        *((name, None) for name in ("bert", "gpt2", "llama", "t5", "bart", "mistral", "qwen3")),
        *((name, ("all-linear",)) for name in CONFIGS if name not in ("mixtral", "deepseek_v3")),
        ("bert", ("query", "key", "value", "dense")),
        ("bert", ("word_embeddings", "decoder")),
        ("bert", ("attention.self.query", "2.output.dense")),
        ("gpt2", ("c_attn", "mlp.c_proj", "wte")),
        ("llama", ("q_proj", "lm_head", "model.layers.1.mlp.gate_proj")),
        ("t5", ("wi", "wo", "SelfAttention.q")),
        ("albert", ("query", "ffn")),
        ("vit", ("projection", "classifier")),
        ("mixtral", ("q_proj", "v_proj")),
        ("deepseek_v3", ("kv_b_proj", "q_a_proj")),
    ],
)
def test_counts_are_those_of_peft(name, targets):
    found = apply(counted(name), LoraSpec(4, targets or ()))
    assert (found.trainable, found.total) == by_peft(name, 4, targets)
    assert found.trainable == sum(row.trainable for row in found.rows)


@pytest.mark.parametrize("name", ["bert", "gpt2"])
@pytest.mark.filterwarnings("ignore")
def test_a_bare_models_pooler_is_linear_and_no_output(name):
    found = apply(counted(name, "none"), LoraSpec(2, ("all-linear",)))
    assert (found.trainable, found.total) == by_peft(name, 2, ("all-linear",), "none")


def test_default_targets_are_those_of_peft():
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as CHOICES

    # blip-2 is named for both of its language models, the others are built from other modules today or not at all.
    apart = {"blip-2", "chatglm", "RefinedWebModel", "RefinedWeb", "btlm", "rwkv7", "llama4", "gemma4"}
    unlike = {}
    for model_type in sorted(set(CHOICES) - apart):
        found = default_targets(small(model_type))
        if sorted(found) != sorted(CHOICES[model_type]):
            unlike[model_type] = (found, CHOICES[model_type])
    assert unlike == {}


def small(model_type):
    """A model type's own defaults, with two layers where that is the usual key."""
    return count_architecture({"model_type": model_type}, formulas=False)


def test_rows_say_how_they_are_made():
    (query, value) = apply(counted("bert"), LoraSpec(8, ("query", "value"))).rows
    assert query.module == "bert.encoder.layer.*.attention.self.query"
    assert (query.formula, query.numbers) == ("r × (in + out) × copies", "8 × (64 + 64) × 4")
    assert query.trainable == value.trainable == 8 * 128 * 4


@pytest.mark.filterwarnings("ignore")
def test_gpt2s_layers_have_their_own_ins_and_outs():
    """Its weights are (in, out): the other way round than those of every other linear layer."""
    (fused, up) = apply(counted("gpt2"), LoraSpec(8, ("c_attn", "c_fc"))).rows
    adapted = peft.get_peft_model(real("gpt2"), peft.LoraConfig(r=8, target_modules=["c_attn", "c_fc"]))
    for row, name in ((fused, "attn.c_attn"), (up, "mlp.c_fc")):
        layer = adapted.get_submodule(f"base_model.model.transformer.h.0.{name}")
        assert (row.inputs, row.outputs) == (layer.in_features, layer.out_features)
        assert row.inputs < row.outputs
        assert row.numbers.startswith(f"8 × ({row.inputs:,} + {row.outputs:,})")


def test_an_embedding_takes_in_as_many_as_it_has_rows():
    (table,) = apply(counted("bert"), LoraSpec(8, ("word_embeddings",))).rows
    adapted = peft.get_peft_model(real("bert"), peft.LoraConfig(r=8, target_modules=["word_embeddings"]))
    layer = adapted.get_submodule("base_model.model.bert.embeddings.word_embeddings")
    first, second = layer.lora_embedding_A["default"], layer.lora_embedding_B["default"]
    assert (table.inputs, table.outputs) == (first.shape[1], second.shape[0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["mixtral", "deepseek_v3"])
def test_experts_in_one_tensor_under_all_linear_are_those_of_peft(name):
    found = apply(counted(name), LoraSpec(4, ("all-linear",)))
    assert (found.trainable, found.total) == by_peft(name, 4, ("all-linear",))
    (gate_up,) = [row for row in found.rows if row.module.endswith("gate_up_proj") and row.experts > 1]
    assert gate_up.formula == "2 × r × (in + out) × experts × copies"
    assert "target_parameters" in found.note


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SIDES)
def test_experts_that_are_named_are_those_of_pefts_target_parameters(name):
    from transformers import AutoModelForCausalLM

    from llmkit.architectures.building import configure

    values = GPT_OSS if name == "gpt_oss" else CONFIGS[name]
    targets = ("experts.gate_up_proj", "down_proj")
    config = peft.LoraConfig(r=4, target_modules=[], target_parameters=list(targets))
    model = AutoModelForCausalLM.from_config(configure(values))
    found = apply(count_architecture(values, formulas=False), LoraSpec(4, targets))
    expected = peft.get_peft_model(model, config).get_nb_trainable_parameters()
    assert (found.trainable, found.total) == expected
    assert {(row.inputs, row.outputs) for row in found.rows} == SIDES[name]


def test_where_all_linear_leaves_experts_as_they_are_it_is_said():
    note = apply(count_architecture(GPT_OSS, formulas=False), LoraSpec(8, ("all-linear",))).note
    assert "targets=gate_up_proj,down_proj" in note
    assert apply(counted("mixtral"), LoraSpec(8)).note == ""
    assert apply(counted("llama"), LoraSpec(8, ("all-linear",))).note == ""


def test_the_types_whose_experts_all_linear_adapts_are_pefts():
    from peft.utils import transformers_weight_conversion as conversion

    from llmkit.architectures.lora_experts import _NAMES_BY_TYPE
    from llmkit.architectures.model_types import model_types

    names = conversion._MOE_TARGET_MODULE_MAPPING
    theirs = {
        name: frozenset(names[base])
        for name, base in conversion._MODEL_TO_CONVERSION_PATTERN.items()
        if base in names and name in model_types()
    }
    known = set(model_types()) - UNKNOWN_EXPERTS
    assert theirs == {name: names for name, names in _NAMES_BY_TYPE.items() if name in known}


@pytest.mark.parametrize(
    ("target", "named"),
    [("qurey", "did you mean query"), ("LayerNorm", "LayerNorm"), ("9.output.dense", "dense")],
)
def test_a_target_that_cannot_be_adapted_is_an_error(target, named):
    with pytest.raises(UsageError, match=named):
        apply(counted("bert"), LoraSpec(8, (target,)))


def test_a_model_without_projections_has_no_default():
    with pytest.raises(UsageError, match="no default targets"):
        apply(count_architecture({"model_type": "resnet"}, formulas=False), LoraSpec())


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("r=8", LoraSpec(8)),
        ("r=16,targets=query,value", LoraSpec(16, ("query", "value"))),
        ("targets=q_proj, v_proj ,r=2,alpha=32", LoraSpec(2, ("q_proj", "v_proj"), 32)),
        ("targets=all-linear", LoraSpec(8, ("all-linear",))),
        ("rank=4,target_modules=c_attn", LoraSpec(4, ("c_attn",))),
    ],
)
def test_parse(text, spec):
    assert parse(text) == spec


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "--lora is empty"),
        (" , ", "--lora is empty"),
        ("r=0", "whole number"),
        ("r=-8", "whole number"),
        ("r=1.5", "whole number"),
        ("r=", "whole number"),
        ("r=²", "whole number"),
        ("r=00", "whole number"),
        ("8", "'8'"),
        ("query,value", "'query'"),
        ("r=8,r=16", "twice"),
        ("r=8,target=query", r"did you mean targets\?\n"),
        pytest.param(f"r={'9' * 5000}", "no matrix is that wide", id="r of 5000 digits"),
        ("r=8,dropout=0.1", "dropout"),
        ("r=8,targets=", "no module"),
        ("r=8,alpha=x", "alpha"),
        ("r=8,alpha=-1", "alpha"),
    ],
)
def test_parse_refuses(text, named):
    with pytest.raises(UsageError, match=named):
        parse(text)


def test_a_rank_below_one_is_refused():
    with pytest.raises(UsageError, match="0: it should be 1 or more"):
        apply(counted("bert"), LoraSpec(0))
