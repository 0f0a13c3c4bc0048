"""The table: its rows add up to the model, and each formula to its row."""

from __future__ import annotations

import json

import pytest

from llmkit.architectures.counted import Counted
from llmkit.architectures.counting import count_architecture
from llmkit.architectures.formulas import evaluate
from llmkit.architectures.rows import table_rows
from tests.architectures.explained import counted

TYPES = """
bert gpt2 gptj llama t5 bart whisper vit swin clip blip llava mamba mixtral deepseek_v3 albert
deberta-v2 bloom falcon opt wav2vec2 convnext modernbert qwen3_moe gemma3 switch_transformers xlnet
funnel longformer perceiver resnet sam
"""


def rows_of(model_type, head=None, **values):
    return {row.component: row for row in table_rows(counted(model_type, head, **values))}


def assert_adds_up(count):
    rows = table_rows(count)
    assert sum(row.total for row in rows) == count.total
    assert sum(row.share for row in rows) == pytest.approx(1)
    for row in rows:
        assert row.per_layer * row.layers == row.total
        assert evaluate(row.formula, count.config) == row.per_layer
        assert evaluate(row.numbers, {}) == row.per_layer
        assert evaluate(row.layers_formula, count.config) == row.layers


@pytest.mark.parametrize("model_type", TYPES.split())
def test_rows_add_up(model_type):
    assert_adds_up(counted(model_type))


def test_bert_large_is_the_slide():
    rows = table_rows(
        counted(
            "bert", hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096
        )
    )
    assert [
        (row.component, row.formula, row.numbers, row.per_layer, row.layers, row.total) for row in rows
    ] == [
        ("token embeddings", "vocab_size × hidden_size", "30,522 × 1,024", 31254528, 1, 31254528),
        ("position embeddings", "max_position_embeddings × hidden_size", "512 × 1,024", 524288, 1, 524288),
        ("segment embeddings", "type_vocab_size × hidden_size", "2 × 1,024", 2048, 1, 2048),
        ("embedding norm", "2 × hidden_size", "2 × 1,024", 2048, 1, 2048),
        (
            "attention",
            "4 × (hidden_size × hidden_size + hidden_size)",
            "4 × (1,024 × 1,024 + 1,024)",
            4198400,
            24,
            100761600,
        ),
        (
            "feed-forward",
            "2 × hidden_size × intermediate_size + intermediate_size + hidden_size",
            "2 × 1,024 × 4,096 + 4,096 + 1,024",
            8393728,
            24,
            201449472,
        ),
        ("layer norms", "4 × hidden_size", "4 × 1,024", 4096, 24, 98304),
        ("pooler", "hidden_size × hidden_size + hidden_size", "1,024 × 1,024 + 1,024", 1049600, 1, 1049600),
    ]
    assert sum(row.total for row in rows) == 335_141_888
    assert {row.layers_formula for row in rows} == {"1", "num_hidden_layers"}


def test_grouped_queries():
    attention = rows_of("llama", num_key_value_heads=8)["attention"]
    assert attention.formula == (
        "2 × (hidden_size × num_attention_heads × head_dim + hidden_size × num_key_value_heads × head_dim)"
    )
    assert attention.numbers == "2 × (4,096 × 32 × 128 + 4,096 × 8 × 128)"


def test_what_is_in_one_layer_only_is_a_row_of_its_own():
    rows = rows_of("t5")
    assert (rows["encoder attention"].layers, rows["encoder relative position bias"].layers) == (6, 1)
    assert rows["decoder layer norms"].formula == "3 × d_model"
    assert rows["decoder layer norms"].layers_formula == "num_decoder_layers"


def test_layers_of_two_kinds_are_two_rows():
    rows = rows_of("deepseek_v3")
    assert (rows["feed-forward"].layers, rows["experts"].layers) == (3, 58)
    assert rows["experts"].layers_formula == "num_hidden_layers − first_k_dense_replace"


def test_notes():
    assert rows_of("mixtral")["experts"].note == "a token meets 2 of 8 experts"
    assert rows_of("albert")["attention"].note == "one set of weights, used 12 times"
    assert rows_of("gpt2")["token embeddings"].note == "tied with lm_head"
    assert rows_of("bert")["attention"].note == ""


def test_a_head_is_apart_and_comes_last():
    rows = table_rows(counted("bert", "sequence-classification", num_labels=3))
    assert [row.component for row in rows if row.is_head] == ["classifier"]
    assert rows[-1].formula == "hidden_size × num_labels + num_labels"
    assert rows[-1].total == 768 * 3 + 3


def test_the_parts_of_a_model_are_named():
    components = list(rows_of("clip"))
    assert {"text attention", "vision attention", "vision patch embedding"} <= set(components)
    assert components.index("text feed-forward") < components.index("vision attention")
    assert components.index("projection") > components.index("vision feed-forward")


def test_a_pyramid_by_stage():
    rows = rows_of("swin")
    assert [rows[f"stage {stage} attention"].layers_formula for stage in (1, 2, 3, 4)] == [
        f"depths[{stage}]" for stage in range(4)
    ]
    assert rows["stage 2 attention"].formula == "8 × (2 × embed_dim × embed_dim + embed_dim)"


@pytest.mark.parametrize(
    ("model_type", "most"), [("bert", 8), ("gpt2", 6), ("llama", 6), ("mixtral", 7), ("t5", 12)]
)
def test_the_table_is_short(model_type, most):
    assert len(table_rows(counted(model_type))) <= most


@pytest.mark.parametrize("model_type", ["bert", "swin", "mixtral"])
def test_rows_of_a_count_that_went_through_a_file(model_type):
    count = counted(model_type)
    again = Counted.from_json(json.loads(json.dumps(count.to_json())))
    assert table_rows(again) == table_rows(count)


def test_a_count_without_formulas_has_numbers():
    count = count_architecture({"model_type": "bert"}, formulas=False)
    assert_adds_up(count)
    assert table_rows(count)[0].formula == "30,522 × 768"


@pytest.mark.nightly
def test_rows_of_every_architecture_add_up():
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    from llmkit.errors import UsageError

    built = 0
    for model_type in MODEL_MAPPING_NAMES:
        try:
            count = counted(model_type)
        except UsageError:  # which of them cannot be built is for test_counting to say
            continue
        assert_adds_up(count)
        built += 1
    assert built > 500
