"""What the formula says the forward pass keeps is what autograd keeps."""

import pytest

torch = pytest.importorskip("torch")
from dataclasses import replace  # noqa: E402

from llmkit.architectures.activations import BFLOAT16, FLOAT32, MIXED, saved  # noqa: E402
from llmkit.architectures.counting import count_architecture  # noqa: E402
from tests.architectures.small_models import (  # noqa: E402
    CONFIGS,
    attention_of,
    counted,
    inputs,
    real,
    saved_bytes,
)

# No product of the two is the side of a matrix, so that autocast's copies of weights are told from activations.
BATCH, LENGTH = 3, 40
FAMILIES = sorted(set(CONFIGS) - {"vit"})
# Kernels of the CPU differ a little: in half precision an attention's output may be kept twice, and autocast
# leaves norms in bfloat16 there, which on a GPU it takes in float32.
EXACT, HALF = 0.05, 0.15


def kept(name, precision, attention="sdpa"):
    """Bytes in the graph: of the twelve a logit, the gradients' eight come only later."""
    found = saved(counted(name), sequence_length=LENGTH, precision=precision, attention=attention)
    return BATCH * (found.layers + found.ends + found.logits / 3)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [(FLOAT32, EXACT), (MIXED, HALF), (BFLOAT16, HALF)],
    ids=lambda each: str(each)[:30],
)
def test_what_is_kept_is_what_autograd_saves(name, precision, tolerance):
    attention = attention_of(name)
    model = real(name, attention=attention)
    model = model.bfloat16() if precision is BFLOAT16 else model
    measured = saved_bytes(model, inputs(name, BATCH, LENGTH), autocast=precision.is_autocast)
    assert kept(name, precision, attention) == pytest.approx(measured, rel=tolerance)


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "t5"])
def test_written_out_attention_keeps_the_scores(name):
    measured = saved_bytes(real(name, attention="eager"), inputs(name, BATCH, LENGTH))
    assert kept(name, FLOAT32, "eager") == pytest.approx(measured, rel=EXACT)


def test_bert_keeps_what_korthikanti_et_al_count():
    """34 bytes × hidden_size a token and layer in 16 bits (section 4.1), of which two are dropout masks.

    Fused attention has neither the scores nor their dropout, but a float32 number a head.
    """
    config = CONFIGS["bert"] | {"hidden_dropout_prob": 0.1, "intermediate_size": 4 * 64}
    found = saved(
        count_architecture(config, "masked-lm", formulas=False), sequence_length=LENGTH, precision=BFLOAT16
    )
    per_token = found.layers / LENGTH / 4
    assert per_token == 34 * 64 + 4 * 4


def test_dropout_keeps_a_mask_of_a_byte_a_number():
    """The CPU's masks are as wide as what they are multiplied with, so that they are counted and not weighed."""
    config = CONFIGS["bert"] | {"hidden_dropout_prob": 0.1}
    with_dropout = saved(
        count_architecture(config, "masked-lm", formulas=False), sequence_length=LENGTH, precision=FLOAT32
    )
    without = saved(counted("bert"), sequence_length=LENGTH, precision=FLOAT32)
    torch.manual_seed(0)
    model = real("bert")
    silent = saved_bytes(model, inputs("bert", BATCH, LENGTH))
    for layer in model.bert.encoder.layer:
        layer.attention.output.dropout.p = layer.output.dropout.p = 0.1
    masks = (saved_bytes(model, inputs("bert", BATCH, LENGTH)) - silent) / 4
    assert BATCH * (with_dropout.layers - without.layers) == masks


def test_a_model_without_a_language_head_has_no_logits():
    assert saved(counted("bert", "none"), sequence_length=LENGTH, precision=FLOAT32).logits == 0
    assert saved(counted("bert"), sequence_length=LENGTH, precision=FLOAT32).logits == 12 * 97 * LENGTH


def test_activations_grow_with_the_sequence_but_not_by_its_square():
    short, long = (saved(counted("llama"), sequence_length=length, precision=MIXED) for length in (128, 1024))
    assert long.layers == 8 * short.layers
    eager = saved(counted("llama"), sequence_length=1024, precision=MIXED, attention="eager")
    assert eager.layers > 8 * long.layers / 2


def test_layers_without_attention_have_no_figure():
    count = counted("llama")
    scan = replace(count.stacks[0], attention_layers=0)
    assert saved(replace(count, stacks=(scan,)), sequence_length=LENGTH, precision=FLOAT32) is None
    assert saved(replace(count, stacks=()), sequence_length=LENGTH, precision=FLOAT32) is None


@pytest.mark.parametrize("model_type", ["eomt_dinov3", "qwen3_5", "swin", "mamba", "lfm2"])
def test_other_shapes_have_a_figure_or_none(model_type):
    """Kernels of four dimensions, layers of linear attention, stages: a figure or none, and never an error."""
    found = saved(
        count_architecture({"model_type": model_type}, formulas=False), sequence_length=8, precision=MIXED
    )
    assert found is None or found.layers > 0
