"""The weights are those of the model itself in eager mode, for every kind of transformer."""

from __future__ import annotations

import numpy
import pytest
import torch
import transformers
from transformers import AutoConfig, AutoTokenizer

from llmkit.errors import DataError, ModelError, UsageError
from llmkit.insight.attention import load_eager_model, read_text, selected
from llmkit.insight.prepared import MOST_TOKENS, check_texts, prepare_text
from llmkit.models.embedded import embedded_folder
from llmkit.models.loading import LoadOptions
from llmkit.models.resolving import resolve_model
from tests.fixtures.tiny import vocabulary
from tests.fixtures.tiny.checkpoint import SIZES, random_model, save
from tests.insight.reading import opened

TEXT = "The quick brown fox jumps over the lazy dog."
ONE_STACK = {
    "feature-extraction": ("encoder", False),
    "fill-mask": ("encoder", False),
    "text-classification": ("encoder", False),
    "text-generation": ("decoder", True),
    "decision": ("decoder", True),
    "conversational": ("decoder", True),
}
BOTH = {"translation": "AutoModelForSeq2SeqLM", "summarization": "AutoModelForSeq2SeqLM"}


@pytest.fixture(scope="module")
def open_tiny(tiny):
    made = {}

    def open_it(name):
        if name not in made:
            made[name] = opened(str(tiny(name)))
        return made[name]

    return open_it


def own_weights(folder, auto_class, **arguments):
    """The weights as transformers gives them."""
    model = auto_class.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return model(**tokenizer(TEXT, return_tensors="pt"), **arguments, output_attentions=True)


@pytest.mark.parametrize("name", ONE_STACK)
def test_weights_of_one_stack(name, open_tiny, tiny):
    found = open_tiny(name).read(TEXT)
    kind, is_causal = ONE_STACK[name]
    (weights,) = found.kinds.values()
    assert (weights.kind, weights.is_causal) == (kind, is_causal)
    own = own_weights(tiny(name), transformers.AutoModel).attentions
    numpy.testing.assert_array_equal(weights.weights, torch.cat(own).numpy())
    numpy.testing.assert_allclose(weights.weights.sum(-1), 1, atol=1e-6)
    assert (weights.layers, weights.heads) == ((1, 2), (1, 2))


@pytest.mark.parametrize("name", BOTH)
def test_weights_of_encoder_and_decoder(name, open_tiny, tiny):
    found = open_tiny(name).read(TEXT)
    assert list(found.kinds) == ["encoder", "decoder", "cross"]
    decoder_ids = torch.tensor([found.kinds["decoder"].queries.ids])
    own = own_weights(tiny(name), getattr(transformers, BOTH[name]), decoder_input_ids=decoder_ids)
    for kind, layers in (
        ("encoder", own.encoder_attentions),
        ("decoder", own.decoder_attentions),
        ("cross", own.cross_attentions),
    ):
        numpy.testing.assert_array_equal(found.kinds[kind].weights, torch.cat(layers).numpy())
    causal = {kind: each.is_causal for kind, each in found.kinds.items()}
    assert causal == {"encoder": False, "decoder": True, "cross": False}
    cross = found.kinds["cross"]
    assert cross.queries == found.kinds["decoder"].keys
    assert cross.keys == found.kinds["encoder"].keys


def test_the_decoder_reads_what_the_model_writes(open_tiny):
    both = open_tiny("translation")
    prepared = both.prepare(TEXT)
    ids = both.read(TEXT).kinds["decoder"].queries.ids
    written = both.model.generate(**prepared.inputs, max_new_tokens=64, do_sample=False)[0].tolist()
    assert ids == (written[:-1] if written[-1] == both.model.config.eos_token_id else written)
    assert ids[0] == both.model.config.decoder_start_token_id


def test_the_embedded_encoder():
    minilm = opened("minilm")
    (weights,) = minilm.read("Your cat is a lovely cat").kinds.values()
    model = transformers.AutoModel.from_pretrained(embedded_folder(), attn_implementation="eager")
    ids = torch.tensor([weights.queries.ids])
    with torch.no_grad():
        own = model(ids, output_attentions=True).attentions
    numpy.testing.assert_array_equal(weights.weights, torch.cat(own).numpy())
    assert weights.queries.tokens == ["[CLS]", "your", "cat", "is", "a", "lovely", "cat", "[SEP]"]


def test_two_texts_have_segments(open_tiny):
    encoder = open_tiny("feature-extraction").read("A cat.", "A dog.").kinds["encoder"]
    first = encoder.queries.tokens.index("[SEP]") + 1
    assert encoder.queries.segments == [0] * first + [1] * (len(encoder.queries) - first)


def test_blanks_are_predicted(open_tiny, tiny):
    masked = open_tiny("fill-mask")
    blank = masked.read("Paris is the ___ of ___.").predictions
    assert [each.is_blank for each in blank] == [True, True]
    fill = transformers.pipeline("fill-mask", model=str(tiny("fill-mask")))
    expected = fill("Paris is the [MASK] of [MASK].", top_k=3)
    for each, own in zip(blank, expected, strict=True):
        assert [found.id for found in each.top(3)] == [one["token"] for one in own]
        assert [found.probability for found in each.top(3)] == pytest.approx(
            [one["score"] for one in own], rel=1e-4
        )
    assert masked.read(TEXT).predictions == []
    assert open_tiny("feature-extraction").read(TEXT).predictions == []


@pytest.mark.parametrize(("model", "blanks"), [("Bert", 1), ("Electra", 0)])
def test_blanks_of_a_model_with_several_heads(model, blanks, tmp_path):
    """BERT's heads of pre-training are those of masked tokens and of the next sentence; ELECTRA's is another."""
    tokenizer = vocabulary.bert()
    config = getattr(transformers, f"{model}Config")(vocab_size=len(tokenizer), **SIZES)
    save(tmp_path, random_model(getattr(transformers, f"{model}ForPreTraining"), config), tokenizer)
    assert len(opened(str(tmp_path)).read("Paris is the ___.").predictions) == blanks


@pytest.mark.parametrize("name", ["text-generation", "decision", "translation"])
def test_the_next_token_is_predicted(name, open_tiny):
    language = open_tiny(name)
    (found,) = language.read(TEXT).predictions
    best = found.top(1)[0]
    prepared = language.prepare(TEXT)
    if name == "translation":
        ids = torch.tensor([language.read(TEXT).kinds["decoder"].queries.ids])
        own = language.model(**prepared.inputs, decoder_input_ids=ids).logits[0, -1].detach()
    else:
        own = language.model(**prepared.inputs).logits[0, -1].detach()
    assert best.id == int(own.argmax())
    assert best.probability == pytest.approx(float(own.softmax(-1).max()), rel=1e-5)
    assert sum(each.probability for each in found.top(10**6)) == pytest.approx(1)


def test_layers_and_heads_are_chosen(open_tiny):
    (found,) = open_tiny("text-generation").read(TEXT).kinds.values()
    whole = found.weights
    assert (selected(found, None, None, "m").weights == whole).all()
    last = selected(found, "-1", "1", "m")
    assert (last.layers, last.heads) == ((2,), (1,))
    assert (last.weights == whole[1:, :1]).all()
    both = selected(found, "2,1", "all", "m")
    assert (both.weights == whole[::-1]).all()
    mean = selected(found, "1", "mean", "m")
    assert mean.heads == ("mean",)
    numpy.testing.assert_allclose(mean.weights[0, 0], whole[0].mean(0))


@pytest.mark.parametrize(
    ("layer", "head", "said"),
    [
        ("3", None, "--layer 3: m has no such layer.\nIt has layers 1 to 2; -1 is the last."),
        ("0", None, "--layer 0 is the embedding"),
        ("-3", None, "--layer -3"),
        ("first", None, "--layer first"),
        ("", None, "--layer : m has no such layer"),
        (None, "3", "--head 3: m has no such head.\nIt has heads 1 to 2"),
        (None, "0", "--head 0: m has no such head"),
        (None, "1,mean", "--head mean: m has no such head"),
    ],
)
def test_a_layer_or_head_that_is_not_there(layer, head, said, open_tiny):
    (found,) = open_tiny("text-generation").read(TEXT).kinds.values()
    with pytest.raises(UsageError) as error:
        selected(found, layer, head, "m")
    assert said in str(error.value)


def test_a_text_that_is_too_long(open_tiny):
    encoder, t5 = open_tiny("feature-extraction"), open_tiny("translation")
    with pytest.raises(UsageError, match=r"the text has 1,002 tokens, and .* takes 512"):
        encoder.prepare("a " * 1000)
    with pytest.raises(UsageError, match="characters"):
        check_texts("a" * 1_000_001, None)
    # Without a limit of its own.
    t5.tokenizer.model_max_length = 10**30
    with pytest.raises(UsageError, match=f"at most {MOST_TOKENS:,} are shown"):
        t5.prepare("a " * 10_000)


def test_many_layers_and_heads_have_fewer_tokens(tiny):
    tokenizer = AutoTokenizer.from_pretrained(tiny("translation"), model_max_length=10**30)
    config = AutoConfig.from_pretrained(tiny("translation"), num_layers=64, num_heads=64)
    with pytest.raises(UsageError, match="at most 256 are shown"):
        prepare_text(tokenizer, config, "big", "a " * 300, None)


@pytest.mark.parametrize(("text", "pair"), [("", None), (" \n", None), ("a cat", " ")])
def test_an_empty_text(text, pair):
    with pytest.raises(DataError, match="is empty"):
        check_texts(text, pair)


NOT_READ = {
    "Mamba": ("ForCausalLM", {"state_size": 4}, "has no attention to look at"),
    "Rwkv": ("ForCausalLM", {"attention_hidden_size": 16}, "has no attention to look at"),
    "Canine": ("Model", {"num_hash_buckets": 64, "num_attention_heads": 2}, "gives no weights of it"),
    "SqueezeBert": (
        "ForMaskedLM",
        {"num_attention_heads": 2, "embedding_size": 16, "intermediate_size": 16},
        "not every row of them is positive and sums to 1",
    ),
    "ViT": ("Model", {"num_attention_heads": 2}, r"could not read the text: .*\nChoose a model of texts"),
}


@pytest.mark.parametrize("name", NOT_READ)
def test_a_model_that_shows_no_weights(name, tmp_path):
    end, settings, said = NOT_READ[name]
    tokenizer = vocabulary.gpt()
    config = getattr(transformers, f"{name}Config")(hidden_size=16, num_hidden_layers=2, **settings)
    config.pad_token_id = 0
    save(tmp_path, random_model(getattr(transformers, name + end), config), tokenizer)
    model = load_eager_model(resolve_model(str(tmp_path)), LoadOptions("cpu"))
    prepared = prepare_text(tokenizer, config, name, TEXT, None)
    with pytest.raises(ModelError, match=rf"^{name} \(model type '{config.model_type}'\).*{said}"):
        read_text(model, tokenizer, prepared, name)


def test_a_model_that_does_not_say_that_it_is_causal(tmp_path):
    tokenizer = vocabulary.gpt()
    config = transformers.BloomConfig(vocab_size=len(tokenizer), hidden_size=16, n_layer=1, n_head=2)
    save(tmp_path, random_model(transformers.BloomForCausalLM, config), tokenizer)
    bloom = opened(str(tmp_path))
    (one,) = bloom.read("a").kinds.values()
    assert (one.kind, one.is_causal, one.weights.shape[2:]) == ("decoder", True, (1, 1))
    with pytest.raises(UsageError, match="has only decoder attention"):
        bloom.explain(TEXT, "#1", kind="encoder")


def test_a_text_of_one_token_is_causal_where_the_model_is(open_tiny):
    (found,) = open_tiny("text-generation").read("a").kinds.values()
    assert found.weights.shape[2:] == (1, 1)
    assert found.kind == "decoder"
