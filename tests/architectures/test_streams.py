"""Each tensor is met by the tokens that run through it."""

import pytest

pytest.importorskip("torch")

from llmkit.architectures.counting import count_architecture
from llmkit.architectures.streams import streams
from tests.architectures.small_models import CONFIGS, counted


def by_name(count):
    return {stream.name: stream for stream in streams(count)}


def names(tensors):
    return {each.name for each in tensors}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_tensor_is_in_one_stream(name):
    count = counted(name)
    given = [tensor for stream in streams(count) for tensor in (*stream.tensors, *stream.once)]
    assert sorted(each.name for each in given) == sorted(each.name for each in count.tensors)


def test_cross_attention_makes_keys_and_values_of_source_tokens():
    found = by_name(counted("bart"))
    assert "model.decoder.layers.*.encoder_attn.k_proj.weight" in names(found["source token"].tensors)
    assert "model.decoder.layers.*.encoder_attn.q_proj.weight" in names(found["target token"].tensors)


def test_the_tied_table_is_the_output_layer_of_the_target():
    found = by_name(counted("t5"))
    assert "shared.weight" in names(found["target token"].tensors)


def test_an_image_has_its_patches_and_a_class_token():
    (stream,) = streams(counted("vit"))
    assert (stream.name, stream.tokens, stream.patches) == ("image patch", 17, 16)
    assert stream.length(999) == 17


def test_towers_are_told_apart():
    found = by_name(count_architecture({"model_type": "clip"}, formulas=False))
    assert list(found) == ["image patch", "token"]
    # 224 / 32 squared, and one.
    assert found["image patch"].length(77) == 50
    assert found["token"].length(77) == 77
    assert all(each.startswith("text_") for each in names(found["token"].tensors) if "encoder" in each)


def test_stages_of_other_widths_have_no_length():
    (stream,) = streams(count_architecture({"model_type": "swin"}, formulas=False))
    assert stream.length(1) is None


def test_a_model_without_layers_that_mix_tokens_has_no_streams():
    assert streams(count_architecture({"model_type": "resnet"}, formulas=False)) == ()
