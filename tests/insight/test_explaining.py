"""Every step is the model's own: the last line is what its module gives, and softmax the weights that it reports."""

from __future__ import annotations

import numpy
import pytest
import torch
import transformers

from llmkit.errors import ModelError, UsageError
from llmkit.insight.explaining import find_token
from llmkit.insight.prepared import Side
from tests.fixtures.tiny import vocabulary
from tests.fixtures.tiny.checkpoint import SIZES, SPREAD, random_model, save
from tests.insight.reading import opened

TEXT = "The quick brown fox jumps over the lazy dog."


def roberta(folder):
    tokenizer = vocabulary.bart()
    config = transformers.RobertaConfig(
        vocab_size=len(tokenizer),
        pad_token_id=1,
        max_position_embeddings=66,
        initializer_range=SPREAD,
        **SIZES,
    )
    return save(folder, random_model(transformers.RobertaForMaskedLM, config), tokenizer)


def electra(folder):
    """Its embeddings are narrower than its layers."""
    tokenizer = vocabulary.bert()
    config = transformers.ElectraConfig(
        vocab_size=len(tokenizer), embedding_size=16, pad_token_id=0, initializer_range=SPREAD, **SIZES
    )
    return save(folder, random_model(transformers.ElectraForMaskedLM, config), tokenizer)


def qwen3(folder):
    """Queries and keys are normalized, heads are wider than the model's width says, keys are shared."""
    tokenizer = vocabulary.chat()
    config = transformers.Qwen3Config(
        vocab_size=len(tokenizer), head_dim=24, num_key_value_heads=1, initializer_range=SPREAD, **SIZES
    )
    return save(folder, random_model(transformers.Qwen3ForCausalLM, config), tokenizer)


def gated_t5(folder):
    tokenizer = vocabulary.t5()
    config = transformers.T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=2, initializer_factor=2.0,
        feed_forward_proj="gated-gelu", pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    return save(folder, random_model(transformers.T5ForConditionalGeneration, config), tokenizer)


BUILDERS = {"roberta": roberta, "electra": electra, "qwen3": qwen3, "gated t5": gated_t5}
MODELS = {
    "feature-extraction": "BERT",
    "roberta": "BERT",
    "electra": "BERT",
    "minilm": "BERT",
    "text-generation": "GPT-2",
    "decision": "Llama",
    "conversational": "Llama",
    "qwen3": "Llama",
    "translation": "T5",
    "gated t5": "T5",
}


@pytest.fixture(scope="module")
def open_any(tiny, tmp_path_factory):
    made = {}

    def open_it(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("explained") / "model"
            if name == "minilm":
                made[name] = opened(name)
            else:
                made[name] = opened(str(BUILDERS[name](folder) if name in BUILDERS else tiny(name)))
        return made[name]

    return open_it


def layer_outputs(model, arguments, kind):
    """What each layer gives, by hooks of the test's own."""
    base = getattr(model, model.base_model_prefix, model)
    if kind is not None:
        layers = (model.get_encoder() if kind == "encoder" else model.get_decoder()).block
    elif hasattr(base, "encoder"):
        layers = base.encoder.layer
    else:
        layers = getattr(base, "h", None) or base.layers
    outputs = []
    hooks = [
        each.register_forward_hook(
            lambda module, args, out: outputs.append(out[0] if isinstance(out, tuple) else out)
        )
        for each in layers
    ]
    with torch.no_grad():
        model(**arguments)
    for each in hooks:
        each.remove()
    return [each[0] for each in outputs]


@pytest.mark.parametrize("name", MODELS)
def test_the_last_line_is_what_the_layer_gives(name, open_any):
    found = open_any(name)
    kind = "encoder" if MODELS[name] == "T5" else None
    arguments = dict(found.prepare(TEXT).inputs)
    if kind:
        arguments["decoder_input_ids"] = torch.zeros(1, 1, dtype=torch.long)
    outputs = layer_outputs(found.model, arguments, kind)
    (weights, *_) = found.read(TEXT).kinds.values()
    for layer in (1, len(outputs)):
        for place, head in ((0, 1), (3, 2)):
            explained = found.explain(TEXT, f"#{place + 1}", layer=layer, head=head, kind=kind)
            own = outputs[layer - 1][place]
            assert explained.family == MODELS[name]
            assert explained.checked == f"output of layer {layer}"
            values = explained.steps[-1].values
            assert values == pytest.approx(own.tolist(), abs=1e-5 * max(1, float(own.abs().max())))
            assert explained.difference <= explained.tolerance
            (softmax,) = (step for step in explained.steps if step.name == "softmax")
            expected = weights.weights[layer - 1, head - 1, place]
            numpy.testing.assert_allclose(softmax.values, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "kind"), [("translation", "decoder"), ("translation", "cross"), ("gated t5", "cross")]
)
def test_a_decoder_of_t5(name, kind, open_any):
    both = open_any(name)
    weights = both.read(TEXT).kinds[kind]
    for layer in (1, 2):
        explained = both.explain(TEXT, "#1", layer=layer, head=2, kind=kind)
        assert explained.checked == ("output" if kind == "cross" else "attention") + f" of layer {layer}"
        (softmax,) = (step for step in explained.steps if step.name == "softmax")
        numpy.testing.assert_allclose(softmax.values, weights.weights[layer - 1, 1, 0], atol=1e-6)


def test_the_steps_of_bert(open_any):
    found = open_any("feature-extraction").explain("A photo of a cat.", "cat", pair="A dog.")
    assert [step.name for step in found.steps] == [
        "token embedding", "segment embedding", "position embedding", "sum", "x = LayerNorm", "Q", "K", "V", "scores",
        "scaled", "+ mask", "softmax", "· V", "concatenated", "projected", "+ residual", "LayerNorm", "up",
        "activation", "down", "+ residual", "LayerNorm",
    ]  # fmt: skip
    by_name = {step.name: step for step in found.steps}
    tokens = len(found.queries)
    assert by_name["Q"].shape == (2, tokens, 16)
    assert by_name["scaled"].formula == "÷ √16"
    assert by_name["concatenated"].shape == (tokens, 32)
    assert sum(by_name["softmax"].values) == pytest.approx(1)


def test_the_steps_of_others(open_any):
    def names(name, **arguments):
        return [step.name for step in open_any(name).explain(TEXT, "#4", **arguments).steps]

    assert names("text-generation")[:4] == ["token embedding", "position embedding", "sum", "z = LayerNorm"]
    assert {"Q rotated", "K rotated", "gate"} <= set(names("decision"))
    assert {"Q RMSNorm", "K RMSNorm"} <= set(names("qwen3"))
    assert "+ position bias" in names("translation", kind="encoder")
    assert names("decision", layer=2)[0] == "x"
    shared = open_any("decision").explain(TEXT, "#4").steps
    assert any("a head for 2 of Q" in step.formula for step in shared)
    (mask,) = (step for step in shared if step.name == "+ mask")
    assert [value == -numpy.inf for value in mask.values] == [place > 3 for place in range(len(mask.values))]


def test_layers_that_are_not_known(open_any):
    with pytest.raises(ModelError, match="knows layers like those of BERT, GPT-2, Llama and T5"):
        open_any("summarization").explain(TEXT, "#1")


def test_a_model_that_does_something_else_is_found_out(tmp_path):
    """Gemma looks like a Llama, but scales its embeddings and adds 1 to the weights of its norms."""
    tokenizer = vocabulary.chat()
    config = transformers.GemmaConfig(vocab_size=len(tokenizer), head_dim=16, num_key_value_heads=1, **SIZES)
    save(tmp_path, random_model(transformers.GemmaForCausalLM, config), tokenizer)
    gemma = opened(str(tmp_path))
    with pytest.raises(ModelError, match="does something in layer 1 that these steps do not have"):
        gemma.explain(TEXT, "#2")


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        (
            "feature-extraction",
            {"token": "zebra"},
            "--explain zebra: no such token is there.\nThere are: #1 [CLS]",
        ),
        ("feature-extraction", {"token": "#99"}, "--explain #99"),
        ("feature-extraction", {"token": "#1", "layer": 3}, "--layer 3"),
        ("feature-extraction", {"token": "#1", "head": 5}, "--head 5"),
        ("feature-extraction", {"token": "#1", "kind": "cross"}, "has only encoder attention"),
        ("text-generation", {"token": "#1", "kind": "encoder"}, "has only decoder attention"),
    ],
)
def test_what_is_not_there(name, arguments, said, open_any):
    with pytest.raises(UsageError) as error:
        open_any(name).explain(TEXT, **arguments)
    assert said in str(error.value)


def test_a_token_is_found_by_how_it_is_written():
    side = Side(
        ["[CLS]", "Ġcat", "##bly", "Cat", "▁dog"], ["[CLS]", "␣cat", "##bly", "Cat", "▁dog"], [1, 2, 3, 4, 5]
    )
    assert [find_token(each, side) for each in ("[CLS]", "Ġcat", "␣cat", "cat", "bly", "dog", "DOG", "Cat", "#3")] == [
        0, 1, 1, 1, 2, 4, 4, 3, 2,
    ]  # fmt: skip
