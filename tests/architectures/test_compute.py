"""FLOPs are those that torch counts on the real model."""

import pytest

torch = pytest.importorskip("torch")
from dataclasses import replace  # noqa: E402

from torch.utils.checkpoint import set_checkpoint_early_stop  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from llmkit.architectures.compute import flops, forward_flops, layer_flops  # noqa: E402
from llmkit.architectures.counting import count_architecture  # noqa: E402
from tests.architectures.small_models import CONFIGS, counted, inputs, real  # noqa: E402

BATCH, LENGTH = 2, 24
# Some releases of transformers make the angles of rotary positions by a matrix product, of less than 1e-4 of all FLOPs.
ROTARY = {"llama", "qwen3", "mixtral", "deepseek_v3"}


def agrees_with(name, expected):
    return pytest.approx(expected, rel=1e-4 if name in ROTARY else 0, abs=0)


def counted_by_torch(model, batch, backward=False):
    with FlopCounterMode(display=False) as counter:
        if not backward:
            with torch.no_grad():
                model.eval()(**batch)
        else:
            model.train()(**batch).loss.backward()
    return counter.get_total_flops()


def written_out(name, head=None):
    """The model with attention and experts as single matrix multiplications, which are what torch counts."""
    model = real(name, head, attention="eager")
    if name in ("mixtral", "deepseek_v3"):
        model.set_experts_implementation("eager")
    return model


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "mistral"])
def test_forward_flops_are_those_torch_counts(name):
    expected = counted_by_torch(written_out(name), inputs(name, BATCH, LENGTH))
    assert BATCH * forward_flops(counted(name), sequence_length=LENGTH) == agrees_with(name, expected)


@pytest.mark.parametrize(
    ("name", "head"),
    [("bert", "none"), ("bert", "sequence-classification"), ("gpt2", "sequence-classification")],
)
def test_poolers_and_classifiers_run_once_a_sequence(name, head):
    batch = {"input_ids": inputs(name, BATCH, LENGTH)["input_ids"]}
    expected = counted_by_torch(written_out(name, head), batch)
    assert BATCH * forward_flops(counted(name, head), sequence_length=LENGTH) == expected


@pytest.mark.parametrize("name", ["bert", "albert", "gpt2", "llama", "t5", "mixtral"])
def test_training_is_three_forward_passes(name):
    expected = counted_by_torch(written_out(name), inputs(name, BATCH, LENGTH), backward=True)
    assert 3 * BATCH * forward_flops(counted(name), sequence_length=LENGTH) == agrees_with(name, expected)


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "t5"])
def test_gradient_checkpointing_runs_the_layers_again(name):
    model = written_out(name)
    model.gradient_checkpointing_enable()
    # Without the shortcut that leaves out a layer's last product, whose result nobody reads.
    with set_checkpoint_early_stop(False):
        measured = counted_by_torch(model, inputs(name, BATCH, LENGTH), backward=True)
    count = counted(name)
    expected = 3 * forward_flops(count, sequence_length=LENGTH) + layer_flops(count, sequence_length=LENGTH)
    assert BATCH * expected == agrees_with(name, measured)


def by_key(count, length=LENGTH):
    return {each.key: each for each in flops(count, sequence_length=length)}


def test_a_sliding_window_bounds_the_context():
    count = counted("mistral")
    short, long = by_key(count, 16), by_key(count, 1024)
    assert short["flops_forward_token"].value == long["flops_forward_token"].value


def test_per_token_adds_up_to_a_sequence():
    count = counted("llama")
    assert LENGTH * by_key(count)["flops_forward_token"].value == forward_flops(count, sequence_length=LENGTH)


def test_source_and_target_tokens_are_told_apart():
    found = by_key(counted("t5"))
    source, target = found["flops_forward_source_token"].value, found["flops_forward_target_token"].value
    assert LENGTH * (source + target) == forward_flops(counted("t5"), sequence_length=LENGTH)
    assert target > source


def test_an_image_is_counted_whole():
    found = by_key(counted("vit"), 7)
    assert found["flops_forward_image"].value == forward_flops(counted("vit"), sequence_length=99)


def test_figures_say_how_they_are_made():
    for each in flops(counted("llama"), sequence_length=LENGTH):
        assert each.formula and each.numbers and each.source
        assert eval(each.numbers.replace(",", "").replace("×", "*")) == pytest.approx(each.value)


def test_layers_that_change_resolution_have_no_figure():
    count = counted("vit")
    wide = replace(count.stacks[0], name="other", hidden_size=2 * count.stacks[0].hidden_size)
    assert flops(replace(count, stacks=(*count.stacks, wide)), sequence_length=LENGTH) == []


def test_the_formula_of_a_model_without_attention_speaks_of_none():
    forward = flops(count_architecture({"model_type": "mamba"}, formulas=False), sequence_length=64)[0]
    assert "attention =" not in forward.formula
    assert "not counted" in forward.formula
