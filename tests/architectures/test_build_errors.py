"""A config that is no model is told of in llmkit's words, with the value to blame, not in a library's."""

from __future__ import annotations

import pytest

from llmkit.architectures.build_errors import one_error
from llmkit.architectures.building import build
from llmkit.errors import UsageError

WRONG = {
    "null": (
        {"model_type": "bert", "hidden_size": None},
        "hidden_size is null: it should be a whole number.",
    ),
    "a fraction by its type": (
        {"model_type": "bert", "hidden_size": 768.0},
        "hidden_size is 768.0: it should be a whole number.",
    ),
    "a text": ({"model_type": "swin", "mlp_ratio": "x"}, 'mlp_ratio is "x": it should be a number.'),
    "no truth value": (
        {"model_type": "bert", "is_decoder": "maybe"},
        'is_decoder is "maybe": it should be true or false.',
    ),
    "a number": ({"model_type": "bert", "hidden_act": 5}, "hidden_act is 5: it should be a text."),
    "no list": (
        {"model_type": "resnet", "depths": "x"},
        'depths is "x": it should be a list of whole numbers or null.',
    ),
    "a text in a list": (
        {"model_type": "resnet", "depths": [3, 4, "x"]},
        'depths is [3, 4, "x"]: it should be a list of whole numbers or null.',
    ),
    "a number or a list": (
        {"model_type": "vit", "image_size": "x"},
        'image_size is "x": it should be a whole number or a list of whole numbers.',
    ),
    "no object": (
        {"model_type": "llama", "rope_parameters": 5},
        "rope_parameters is 5: it should be an object or null.",
    ),
    "in a nested config, not in its neighbour": (
        {"model_type": "clip", "text_config": {"hidden_size": 512}, "vision_config": {"hidden_size": "x"}},
        'vision_config.hidden_size is "x": it should be a whole number.',
    ),
    "no table of labels": (
        {"model_type": "bert", "id2label": 5},
        "id2label is 5: it should be an object, a label a number.",
    ),
    "a name that nothing goes by": (
        {"model_type": "llama", "rope_parameters": {"rope_type": "foo"}},
        "rope_parameters.rope_type is 'foo': transformers has nothing of this name.",
    ),
    "a size below 0": (
        {"model_type": "whisper", "max_source_positions": -4},
        "max_source_positions is -4: it should be 0 or more.",
    ),
    "a kernel below 0": (
        {"model_type": "mamba", "conv_kernel": -3},
        "conv_kernel is -3: it should be 0 or more.",
    ),
    "a ratio below 0": (
        {"model_type": "swin", "mlp_ratio": -3.0},
        "mlp_ratio is -3.0: it should be 0 or more.",
    ),
    "larger than a tensor can be": (
        {"model_type": "vit", "image_size": 10**12},
        "image_size is 1,000,000,000,000: no tensor can be that large.",
    ),
    "10^12 positions": (
        {"model_type": "bert", "max_position_embeddings": 10**12},
        "max_position_embeddings is 1,000,000,000,000: llmkit counts models of up to 1,000,000,000 positions.",
    ),
    "sizes in range, too large together": (
        {"model_type": "bert", "vocab_size": 10**9, "hidden_size": 9_999_996},
        "parameters: llmkit counts models of up to 1,000,000,000,000,000.",
    ),
    "no key and value heads": (
        {"model_type": "llama", "num_key_value_heads": 0},
        "num_key_value_heads is 0: it should be 1 or more.",
    ),
    "lists that do not go together": (
        {"model_type": "swin", "num_heads": [3, 6]},
        "the lists of this config do not go together: depths has 4, num_heads has 2.",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_the_value_to_blame_is_named(case):
    values, said = WRONG[case]
    with pytest.raises(UsageError) as caught:
        build(values)
    assert caught.value.message.endswith(said)


def test_a_division_by_zero_names_the_zeros():
    values = {"size": 4, "groups": 0, "pad_token_id": 0, "dropout": 0.0, "is_decoder": False}
    with (
        pytest.raises(UsageError, match="groups is 0, and a size is divided by 0"),
        one_error("X", lambda: values),
    ):
        values["size"] // values["groups"]


@pytest.mark.parametrize(
    "error", [IndexError("index"), ZeroDivisionError("zero"), KeyError("k"), ValueError("bad")]
)
def test_what_no_value_explains_is_said_as_it_is(error):
    with pytest.raises(UsageError, match="This is no model: ") as caught, one_error("This is no model"):
        raise error
    assert str(error.args[0]) in caught.value.message


def test_a_missing_library_says_what_to_do():
    with pytest.raises(UsageError) as caught, one_error("X"):
        raise ImportError("needs sparse_magic")
    assert "Install" in (caught.value.hint or "")


def test_llmkits_own_errors_pass():
    with pytest.raises(UsageError, match="mine"), one_error("X"):
        raise UsageError("mine")
