"""Bytes for weights and training are those that the real model and a real AdamW take."""

import pytest

torch = pytest.importorskip("torch")
from llmkit.architectures.lora import LoraSpec  # noqa: E402
from llmkit.architectures.memory import is_quantized, kv_cache, regimes, training, weights  # noqa: E402
from llmkit.errors import UsageError  # noqa: E402
from tests.architectures.small_models import (  # noqa: E402
    CONFIGS,
    LiveMemory,
    attention_of,
    counted,
    inputs,
    real,
)

BATCH, LENGTH = 3, 40


def bytes_of(tensors):
    return sum(each.numel() * each.element_size() for each in tensors)


def by_key(quantities):
    return {each.key: each for each in quantities}


@pytest.mark.parametrize("name", CONFIGS)
def test_weights_are_those_of_the_real_model(name):
    model, found = real(name), by_key(weights(counted(name)))
    assert found["weights_float32"].value == bytes_of(model.parameters())
    assert found["weights_bfloat16"].value == bytes_of(model.bfloat16().parameters())


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("head", [None, "none"])
def test_what_is_quantized_is_what_transformers_quantizes(name, head):
    from transformers.pytorch_utils import Conv1D
    from transformers.quantizers.base import get_keys_to_not_convert
    from transformers.quantizers.quantizers_utils import should_convert_module

    model, count = real(name, head), counted(name, head)
    left_out = get_keys_to_not_convert(model)
    expected = sum(
        module.weight.numel()
        for module_name, module in model.named_modules()
        if (type(module) is torch.nn.Linear or isinstance(module, Conv1D))
        and should_convert_module(module_name, left_out)
    )
    assert sum(each.total for each in count.tensors if is_quantized(each, count)) == expected


def test_integer_weights_say_what_stays_in_bfloat16():
    count = counted("llama")
    found = by_key(weights(count))
    # Query and output, key and value, gate and up, down: numbers and rows of four layers.
    numbers = 4 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 176)
    rows = 4 * (2 * 64 + 2 * 32 + 2 * 176 + 64)
    rest = count.total - numbers
    assert found["weights_int8"].value == numbers + 4 * rows + 2 * rest
    assert found["weights_int4"].value == pytest.approx(numbers * (0.5 + 0.127 / 8) + 2 * rest, rel=1e-4)
    assert "bfloat16" in found["weights_int4"].formula


@pytest.mark.parametrize(
    ("name", "key"), [("bert", "float32"), ("gpt2", "float32"), ("t5", "float32"), ("llama", "bfloat16")]
)
def test_weights_gradients_and_moments_are_those_of_a_real_step(name, key):
    model = real(name).train()
    model = model.bfloat16() if key == "bfloat16" else model
    optimizer = torch.optim.AdamW(model.parameters())
    model(**inputs(name, BATCH, LENGTH)).loss.backward()
    optimizer.step()
    moments = [state for each in optimizer.state.values() for state in (each["exp_avg"], each["exp_avg_sq"])]
    gradients = [each.grad for each in model.parameters()]
    states = {each.key: each.states for each in regimes(counted(name))}
    assert states[key] == bytes_of(model.parameters()) + bytes_of(gradients) + bytes_of(moments)


def peak_of_a_step(model, batch, autocast):
    """Bytes at the worst moment of a step while gradients are accumulated."""
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], foreach=False)
    with LiveMemory(model) as memory:

        def backward():
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                loss = model(**batch).loss
            loss.backward()

        backward()
        optimizer.step()
        memory.peak = memory.alive
        backward()
        return memory.peak


def prepared(name, key, checkpointing):
    model = real(name).train()
    model = model.bfloat16() if key in ("bfloat16", "lora") else model
    if checkpointing:
        model.gradient_checkpointing_enable()
    if key == "lora":
        peft = pytest.importorskip("peft")
        model.enable_input_require_grads()
        targets = regimes_targets(name)
        model = peft.get_peft_model(model, peft.LoraConfig(r=8, target_modules=targets))
    return model


def regimes_targets(name):
    return {"bert": ["query", "value"], "gpt2": ["c_attn"], "llama": ["q_proj", "v_proj"], "t5": ["q", "v"]}[
        name
    ]


@pytest.mark.parametrize("checkpointing", [False, True], ids=["", "checkpointing"])
@pytest.mark.parametrize("key", ["float32", "mixed", "bfloat16", "lora"])
@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "t5"])
def test_training_takes_what_a_real_step_takes(name, key, checkpointing):
    # With checkpointing the scores of one layer alone are ever there.
    count, attention = counted(name), "sdpa" if checkpointing else attention_of(name)
    found = by_key(training(count, batch_size=BATCH, sequence_length=LENGTH, attention=attention))
    expected = found[f"training_{key}{'_checkpointing' * checkpointing}"].value
    measured = peak_of_a_step(prepared(name, key, checkpointing), inputs(name, BATCH, LENGTH), key == "mixed")
    assert expected == pytest.approx(measured, rel=0.15)


def test_checkpointing_needs_less_and_figures_add_up():
    found = by_key(training(counted("llama"), batch_size=BATCH, sequence_length=512))
    for regime in regimes(counted("llama")):
        key = regime.key
        plain, checkpointed = found[f"training_{key}"], found[f"training_{key}_checkpointing"]
        assert checkpointed.value < plain.value
        assert plain.value == regime.states + found[f"activations_{key}"].value
        assert plain.formula and plain.numbers and plain.source


def test_activations_grow_with_the_batch():
    one, eight = (
        by_key(training(counted("gpt2"), batch_size=size, sequence_length=LENGTH)) for size in (1, 8)
    )
    assert eight["activations_mixed"].value == pytest.approx(8 * one["activations_mixed"].value)


def test_adapters_that_do_not_fit_are_an_error_but_the_default_ones_are_left_out():
    with pytest.raises(UsageError, match="query"):
        training(counted("llama"), batch_size=1, sequence_length=8, lora=LoraSpec(8, ("query",)))
    from llmkit.architectures.counting import count_architecture

    convolutions = count_architecture({"model_type": "resnet"}, formulas=False)
    found = training(convolutions, batch_size=1, sequence_length=8)
    assert [each.key for each in found] == ["training_mixed", "training_float32", "training_bfloat16"]
    assert all("without activations" in each.formula for each in found)


def test_the_cache_is_the_one_of_a_generation():
    assert [each.key for each in kv_cache(counted("llama"), context=8)] == ["kv_cache_token", "kv_cache"]
