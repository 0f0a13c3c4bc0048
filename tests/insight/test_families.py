"""Every step is the model's own, in each family: the last line is what its module gives, and softmax its weights."""

from __future__ import annotations

import numpy
import pytest
import torch

from llmkit.errors import ModelError
from llmkit.insight import attention
from llmkit.insight.families import known_families
from tests.fixtures.tiny.checkpoint import SIZES
from tests.insight.family_models import FAMILIES, causal, masked
from tests.insight.reading import opened

TEXT = "The quick brown fox jumps over the lazy dog."
TINY = {
    "feature-extraction": "BERT",
    "text-generation": "GPT-2",
    "decision": "Llama",
    "conversational": "Llama",
    "translation": "T5",
}
MODELS = {"minilm": "BERT", **TINY, **{name: family for name, (family, _) in FAMILIES.items()}}
BOTH = ("translation", "bart", "mbart", "pegasus", "marian", "m2m 100", "blenderbot", "gated t5", "umt5")
ONE = tuple(name for name in MODELS if name not in BOTH)
# The class whose modules are a model's layers, where it does not end so.
LAYERS = ("Layer", "Block", "DecoderLayer", "EncoderLayer")


@pytest.fixture(scope="module")
def open_any(tiny, tmp_path_factory):
    made = {}

    def open_it(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("families") / "model"
            found = FAMILIES[name][1](folder) if name in FAMILIES else tiny(name) if name in TINY else name
            made[name] = opened(str(found))
        return made[name]

    return open_it


def layer_outputs(stack, call):
    """What each layer gives while the model computes, by hooks of the test's own."""
    outputs = []
    hooks = [
        module.register_forward_hook(
            lambda module, args, out: outputs.append(out[0] if isinstance(out, tuple) else out)
        )
        for module in stack.modules()
        if type(module).__name__.endswith(LAYERS)
    ]
    with torch.no_grad():
        call()
    for each in hooks:
        each.remove()
    return [each[0] for each in outputs]


def softmax_of(explained):
    (found,) = (step.values for step in explained.steps if step.name == "softmax")
    return found


@pytest.mark.parametrize("name", ONE)
def test_a_model_of_one_stack(name, open_any):
    found = open_any(name)
    outputs = layer_outputs(found.model, lambda: found.model(**found.prepare(TEXT).inputs))
    (weights,) = found.read(TEXT).kinds.values()
    assert len(outputs) == len(weights.layers)
    for layer in (1, 2, len(outputs)):
        for place, head in ((0, 1), (3, 2)):
            explained = found.explain(TEXT, f"#{place + 1}", layer=layer, head=head)
            own = outputs[layer - 1][place]
            assert explained.family == MODELS[name]
            assert explained.checked == f"output of layer {layer}"
            values = explained.steps[-1].values
            assert values == pytest.approx(own.tolist(), abs=1e-5 * max(1, float(own.abs().max())))
            assert explained.difference <= explained.tolerance
            expected = weights.weights[layer - 1, head - 1, place]
            numpy.testing.assert_allclose(softmax_of(explained), expected, atol=1e-5)


@pytest.mark.parametrize("name", BOTH)
def test_encoder_decoder_and_cross(name, open_any, monkeypatch):
    monkeypatch.setattr(attention, "_MOST_GENERATED", 5)  # a random model does not come to an end
    found = open_any(name)
    kinds = found.read(TEXT).kinds
    ids = torch.tensor([kinds["decoder"].queries.ids])
    call = lambda: found.model(**found.prepare(TEXT).inputs, decoder_input_ids=ids)  # noqa: E731
    outputs = {
        "encoder": layer_outputs(found.model.get_encoder(), call),
        "cross": layer_outputs(found.model.get_decoder(), call),
    }
    for kind, weights in kinds.items():
        for layer in (1, 2):
            place = len(weights.queries) - 1
            explained = found.explain(TEXT, f"#{place + 1}", layer=layer, head=2, kind=kind)
            assert explained.family == MODELS[name]
            what = "attention" if kind == "decoder" else "output"
            assert explained.checked == f"{what} of layer {layer}"
            assert explained.difference <= explained.tolerance
            numpy.testing.assert_allclose(
                softmax_of(explained), weights.weights[layer - 1, 1, place], atol=1e-5
            )
            if kind in outputs:
                own = outputs[kind][layer - 1][place]
                close = pytest.approx(own.tolist(), abs=1e-5 * max(1, float(own.abs().max())))
                assert explained.steps[-1].values == close


def test_embeddings_of_others(open_any):
    def formulas(name, **arguments):
        return {step.name: step.formula for step in open_any(name).explain(TEXT, "#4", **arguments).steps}

    assert formulas("opt")["position embedding"] == "row 5 of 66 × 32"  # OPT begins with the third row
    assert formulas("bart", kind="encoder")["position embedding"] == "row 5 of 66 × 32"
    assert formulas("marian", kind="encoder")["position embedding"] == "row 3 of 64 × 32"
    assert formulas("marian", kind="encoder")["token embedding"].endswith(", × √32")
    assert list(formulas("opt of 350M"))[:4] == [
        "token embedding", "position embedding", "e projected", "sum",
    ]  # fmt: skip
    assert formulas("opt of 350M")["sum"] == "token projected + position"
    assert "x projected" in formulas("albert")
    assert "γ" not in formulas("galactica")["z = LayerNorm"]
    assert "z = LayerNorm" not in formulas("modernbert")
    assert "z = LayerNorm" in formulas("modernbert", layer=2)


def test_layers_of_one_weight_are_told_apart(open_any):
    """ALBERT goes through the same layer again and again."""
    albert = open_any("albert")
    one, other = (albert.explain(TEXT, "#2", layer=layer).steps for layer in (1, 2))
    assert other[0].values == pytest.approx(one[-1].values, abs=1e-5)
    assert one[-1].values != other[-1].values


UNKNOWN = {
    "gpt_neox": causal("GPTNeoX"),
    # Built like BERT, but for norms that only scale.
    "mobilebert": masked("MobileBert", embedding_size=16, intra_bottleneck_size=16, **SIZES),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_layers_that_are_not_known(kind, tmp_path):
    model = opened(str(UNKNOWN[kind](tmp_path)))
    with pytest.raises(ModelError) as error:
        model.explain(TEXT, "#1")
    assert f"'{kind}'): --explain knows layers like those of {known_families()}" in str(error.value)
    assert known_families().endswith("Llama, BART, OPT and T5")


def test_a_model_that_does_something_else_is_found_out(tmp_path):
    """Gemma looks like a Llama, but scales its embeddings and adds 1 to the weights of its norms."""
    gemma = opened(str(causal("Gemma", head_dim=16, num_key_value_heads=1)(tmp_path)))
    with pytest.raises(ModelError, match="does something in layer 1 that these steps do not have"):
        gemma.explain(TEXT, "#2")
