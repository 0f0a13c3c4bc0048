"""What learns and how fast: frozen parameters, groups, layer decay, and schedules against those of transformers.

The reference is `transformers.get_scheduler`, in transformers 5.23.0.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
    get_scheduler,
)

from llmkit.errors import UsageError
from llmkit.training.adapters import add_adapter
from llmkit.training.config import AdapterSection, TrainingSection
from llmkit.training.optimizer import freeze, layer_of, make_optimizer, parameter_groups, rate_at

LAYERS = 3


def bert() -> PreTrainedModel:
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=50,
            hidden_size=8,
            num_hidden_layers=LAYERS,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=16,
        )
    )


def gpt2() -> PreTrainedModel:
    return GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=8, n_layer=LAYERS, n_head=2, n_positions=16))


def t5(**changes: Any) -> PreTrainedModel:
    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": LAYERS, "num_heads": 2}
    return T5ForConditionalGeneration(T5Config(vocab_size=50, **sizes, **changes))


def settings(**changes: Any) -> TrainingSection:
    return TrainingSection.model_validate({"learning_rate": 1e-3, **changes})


def trained(model: PreTrainedModel) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


# What is left as it is


@pytest.mark.parametrize(
    ("wanted", "left_alone"),
    [
        ("embeddings", lambda name: name.startswith("bert.embeddings.")),
        ("encoder", lambda name: name.startswith("bert.")),
        ("layers.1", lambda name: ".layer.1." in name),
        ("layers.0-1", lambda name: ".layer.0." in name or ".layer.1." in name),
        ("bert.pooler", lambda name: name.startswith("bert.pooler.")),
        ("pooler", lambda name: name.startswith("bert.pooler.")),
        ("classifier.bias", lambda name: name == "classifier.bias"),
    ],
)
def test_what_is_named_is_frozen_and_counted(wanted: str, left_alone: Any) -> None:
    model = bert()

    count = freeze(model, [wanted])

    frozen = {name: each for name, each in model.named_parameters() if not each.requires_grad}
    assert set(frozen) == {name for name, _ in model.named_parameters() if left_alone(name)}
    assert count == sum(each.numel() for each in frozen.values()) > 0


def test_several_add_up_and_what_two_name_counts_once() -> None:
    model = bert()

    count = freeze(model, ["embeddings", "encoder", "layers.0"])

    assert trained(model) == {"classifier.weight", "classifier.bias"}
    assert count == sum(each.numel() for name, each in model.named_parameters() if name.startswith("bert."))


def test_a_decoder_has_embeddings_and_layers_too() -> None:
    model = gpt2()

    freeze(model, ["embeddings", "layers.0-2"])

    assert trained(model) == {"transformer.ln_f.weight", "transformer.ln_f.bias"}


@pytest.mark.parametrize(("wanted", "near"), [("layers.7", ""), ("bert.poler", "did you mean bert.pooler")])
def test_what_no_parameter_is_called_is_refused(wanted: str, near: str) -> None:
    with pytest.raises(UsageError, match="no parameter is called") as refused:
        freeze(bert(), [wanted])

    assert near in refused.value.message


def test_layers_beyond_the_last_are_refused() -> None:
    with pytest.raises(UsageError, match=r"'layers.0-9': the last layer of the model is layers\.2\."):
        freeze(bert(), ["layers.0-9"])


def test_frozen_parameters_do_not_move() -> None:
    model = bert()
    freeze(model, ["encoder"])
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = make_optimizer(model, settings())

    model(input_ids=torch.arange(12).reshape(2, 6)).logits.square().sum().backward()
    optimizer.step()

    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == {"classifier.weight", "classifier.bias"}


# Groups


@pytest.mark.parametrize("make", [bert, gpt2])
def test_every_trained_parameter_is_in_one_group(make: Any) -> None:
    model = make()
    freeze(model, ["layers.0"])

    groups = parameter_groups(model, settings(layer_decay=0.5))

    found = [id(parameter) for group in groups for parameter in group["params"]]  # type: ignore[attr-defined]
    assert len(found) == len(set(found))
    assert set(found) == {id(each) for each in model.parameters() if each.requires_grad}


def test_norms_and_biases_are_spared_the_decay() -> None:
    model = bert()

    groups = parameter_groups(model, settings(weight_decay=0.1))

    decay = {id(each): group["weight_decay"] for group in groups for each in group["params"]}  # type: ignore[attr-defined]
    for name, parameter in model.named_parameters():
        spared = name.endswith(".bias") or "LayerNorm" in name
        assert decay[id(parameter)] == (0.0 if spared else 0.1), name


def test_layer_decay_halves_the_rate_from_layer_to_layer() -> None:
    model = bert()

    groups = parameter_groups(model, settings(layer_decay=0.5))

    rate = {id(each): group["lr"] for group in groups for each in group["params"]}  # type: ignore[attr-defined]
    parts = {"classifier": 0, "pooler": 1, "layer.2": 1, "layer.1": 2, "layer.0": 3, "embeddings": 4}
    for name, parameter in model.named_parameters():
        below = next(depth for part, depth in parts.items() if part in name)
        assert rate[id(parameter)] == pytest.approx(1e-3 * 0.5**below), name


T5_PARTS = {"block.2": 1, "block.1": 2, "block.0": 3, "shared": 4, "final_layer_norm": 1, "lm_head": 0}


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: bert().bert, {"pooler": 1, "layer.2": 1, "layer.1": 2, "layer.0": 3, "embeddings": 4}),
        (gpt2, {"h.2": 1, "h.1": 2, "h.0": 3, "wte": 4, "wpe": 4, "ln_f": 1}),
        (lambda: gpt2().transformer, {"h.2": 1, "h.1": 2, "h.0": 3, "wte": 4, "wpe": 4, "ln_f": 1}),
        (lambda: t5(tie_word_embeddings=False), T5_PARTS),
        (t5, T5_PARTS),
    ],
    ids=["bare BERT", "GPT-2", "bare GPT-2", "T5", "T5, tied"],
)
def test_layer_decay_of_other_models(make: Any, parts: dict[str, int]) -> None:
    model = make()

    groups = parameter_groups(model, settings(layer_decay=0.5))

    rate = {id(each): group["lr"] for group in groups for each in group["params"]}  # type: ignore[attr-defined]
    for name, parameter in model.named_parameters():
        below = next(depth for part, depth in parts.items() if part in name)
        assert rate[id(parameter)] == pytest.approx(1e-3 * 0.5**below), name


@pytest.mark.parametrize(
    ("make", "left_alone"),
    [
        (lambda: bert().bert, lambda name: True),
        (gpt2, lambda name: True),  # its head is the embedding
        (t5, lambda name: name.startswith("encoder.")),
    ],
    ids=["bare BERT", "GPT-2", "T5"],
)
def test_the_encoder_of_other_models(make: Any, left_alone: Any) -> None:
    model = make()

    freeze(model, ["encoder"])

    names = {name for name, _ in model.named_parameters()}
    assert trained(model) == {name for name in names if not left_alone(name)}


def test_layer_decay_reaches_an_adapter() -> None:
    model = add_adapter(bert(), AdapterSection(r=2), new_head=True)

    groups = parameter_groups(model, settings(layer_decay=0.5))

    rate = {id(each): group["lr"] for group in groups for each in group["params"]}  # type: ignore[attr-defined]
    parts = {"classifier": 0, "layer.2": 1, "layer.1": 2, "layer.0": 3}
    found = {name: rate[id(each)] for name, each in model.named_parameters() if each.requires_grad}
    for name, one in found.items():
        below = next((depth for part, depth in parts.items() if part in name), 1)
        assert one == pytest.approx(1e-3 * 0.5**below), name
    assert len({*found.values()}) == 1 + LAYERS


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("bert.encoder.layer.11.attention.self.query.weight", 11),
        ("model.layers.3.mlp.up_proj.weight", 3),
        ("transformer.h.0.attn.c_attn.bias", 0),
        ("encoder.block.2.layer.1.DenseReluDense.wi.weight", 2),
        ("classifier.weight", None),
        ("bert.embeddings.word_embeddings.weight", None),
    ],
)
def test_the_layer_is_read_from_the_name(name: str, layer: int | None) -> None:
    assert layer_of(name) == layer


# Schedules


def reference(name: str, warmup: int, total: int) -> list[float]:
    """The factors of transformers' schedule, step by step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=total)
    factors = []
    for _ in range(total + 1):
        factors.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return factors


THEIRS = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


@pytest.mark.parametrize(("warmup", "total"), [(0, 20), (5, 20), (1, 2), (19, 20)])
@pytest.mark.parametrize("name", THEIRS)
def test_after_the_warm_up_it_is_the_schedule_of_transformers(name: str, warmup: int, total: int) -> None:
    factor = rate_at(settings(schedule=name, warmup_steps=warmup), total)

    found = [factor(step) for step in range(warmup, total)]

    assert found == pytest.approx(reference(THEIRS[name], warmup, total)[warmup:total], abs=1e-9)


@pytest.mark.parametrize("warmup", [1, 5, 9])
def test_the_warm_up_is_that_of_transformers_without_its_step_at_rate_zero(warmup: int) -> None:
    factor = rate_at(settings(schedule="constant", warmup_steps=warmup), 20)

    theirs = reference("constant_with_warmup", warmup + 1, 20)
    assert [factor(step) for step in range(19)] == pytest.approx(theirs[1:20])
    assert factor(0) > 0


def test_warm_up_steps_win_over_the_ratio() -> None:
    by_ratio = rate_at(settings(warmup_ratio=0.5, schedule="constant"), 10)
    by_steps = rate_at(settings(warmup_ratio=0.5, warmup_steps=0, schedule="constant"), 10)

    assert [by_ratio(step) < 1 for step in range(10)] == [True] * 5 + [False] * 5
    assert by_steps(0) == 1


@pytest.mark.parametrize("name", THEIRS)
def test_beyond_the_end_the_rate_stays_what_it_was(name: str) -> None:
    factor = rate_at(settings(schedule=name, warmup_steps=2), 10)

    assert factor(11) == factor(10) == pytest.approx(1.0 if name == "constant" else 0.0)


def test_a_warm_up_longer_than_the_run_never_arrives() -> None:
    factor = rate_at(settings(warmup_steps=100), 10)

    assert all(0 < factor(step) < factor(step + 1) < 0.2 for step in range(9))
