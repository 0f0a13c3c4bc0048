"""Vectors are those of the model itself, one text at a time without padding."""

from __future__ import annotations

import itertools
import json
import random
import shutil

import numpy
import pytest
import torch
import transformers

from llmkit import embed, pipeline
from llmkit.errors import DataError, ModelError, UsageError
from llmkit.models.resolving import resolve_model
from tests.embeddings.conftest import encoder_of

TEXTS = [
    "He went to the bank to deposit money.",
    "The bank approved the loan.",
    "She sat on the river bank and fished.",
    "bank",
    "A café in Zürich, a naïve 日本語 reader and a 🙂!",
    "the the the the the the the the the the the the the the the the the the the the",
]
POOLINGS = ("mean", "cls", "max", "last-token", "weighted-mean", "mean-sqrt-length")
LAYERS = ("-1", "0", "1", "-2", "0,1,2", "-2:")
KINDS = ("bert", "roberta", "gpt2", "qwen2", "llama", "bart", "t5")


def reference(folder, text):
    """The hidden states of one text, (layers + 1) of (tokens, hidden), from the library's own classes."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    with torch.no_grad():
        output = model(
            input_ids=torch.tensor([tokenizer(text)["input_ids"]]),
            output_hidden_states=True,
        )
    return [each[0] for each in output.hidden_states], output


def chosen(states, layers, merge):
    numbers = {
        "-1": [-1],
        "0": [0],
        "1": [1],
        "-2": [-2],
        "1,2": [1, 2],
        "0,1,2": [0, 1, 2],
        "-2:": [-2, -1],
    }[layers]
    parts = [states[number] for number in numbers]
    if merge == "concat":
        return torch.cat(parts, dim=-1)
    total = sum(parts)
    return total / len(parts) if merge == "mean" else total


def pooled(tokens, pooling):
    weights = torch.arange(1, len(tokens) + 1)[:, None]
    return {
        "mean": lambda: tokens.mean(dim=0),
        "cls": lambda: tokens[0],
        "max": lambda: tokens.amax(dim=0),
        "last-token": lambda: tokens[-1],
        "weighted-mean": lambda: (tokens * weights).sum(dim=0) / weights.sum(),
        "mean-sqrt-length": lambda: tokens.sum(dim=0) / len(tokens) ** 0.5,
    }[pooling]()


@pytest.fixture(scope="module")
def references(folder_of):
    found = {}

    def states(kind):
        if kind not in found:
            folder = resolve_model("minilm").location if kind == "minilm" else folder_of(kind)
            found[kind] = folder, [reference(folder, text)[0] for text in TEXTS]
        return found[kind]

    return states


@pytest.mark.parametrize("kind", [*KINDS, "minilm"])
def test_every_pooling_layer_and_merge_is_the_models(references, kind):
    folder, states = references(kind)
    for pooling, layers, merge in itertools.product(POOLINGS, LAYERS, ("mean", "sum", "concat")):
        if merge != "mean" and ("," not in layers and ":" not in layers):
            continue
        if kind == "minilm" and (layers not in ("-1", "-2:") or pooling not in ("mean", "cls")):
            continue
        encoder = encoder_of(
            folder, pooling=pooling, layers=layers, layers_merge=merge, normalize=False, max_length=60
        )
        found = numpy.stack([each.vectors for each in embedded(encoder, TEXTS)])
        expected = [pooled(chosen(each, layers, merge), pooling) for each in states]
        assert found.shape[1] == encoder.dimension
        scale = max(1.0, float(torch.stack(expected).abs().max()))
        numpy.testing.assert_allclose(found, torch.stack(expected).numpy(), rtol=0, atol=1e-5 * scale)


def embedded(encoder, texts):
    from llmkit.embeddings.embedding import embed_texts

    return embed_texts(encoder, texts, encoder.tokenizer.tokenize(texts))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("layers", "merge"), [("-1", "mean"), ("1,2", "concat")])
def test_every_token_is_the_models(references, kind, layers, merge):
    folder, states = references(kind)
    encoder = encoder_of(folder, level="token", layers=layers, layers_merge=merge, max_length=60)
    for found, every in zip(embedded(encoder, TEXTS), states, strict=True):
        expected = chosen(every, layers, merge).numpy()
        assert found.vectors.shape == expected.shape
        numpy.testing.assert_allclose(
            found.vectors, expected, rtol=0, atol=1e-5 * max(1, abs(expected).max())
        )


def test_the_pooler_is_the_models(folder_of):
    folder = folder_of("bert")
    found = embed(TEXTS, str(folder), pooling="pooler", dtype="float32")
    for vector, text in zip(found, TEXTS, strict=True):
        expected = reference(folder, text)[1].pooler_output[0]
        numpy.testing.assert_allclose(vector, expected.numpy(), rtol=0, atol=1e-5)


def test_the_bank_of_every_introduction():
    tokens = embed(TEXTS[0], "minilm", level="token")
    assert tokens.shape == (11, 384)
    money, loan, river = embed(TEXTS[:3], "minilm", word="bank", normalize=True)
    assert float(money @ loan) > float(money @ river)
    first, second, third = embed(TEXTS[:3], "minilm", normalize=True)
    assert float(first @ second) > float(first @ third)


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2", "t5"])
@pytest.mark.parametrize("level", ["sentence", "token"])
def test_a_vector_does_not_depend_on_its_neighbours(folder_of, kind, level):
    chance = random.Random(1)
    words = ["the", "bank", "raised", "its", "rates", "after", "a", "long", "debate", "in", "town"]
    texts = [" ".join(chance.choices(words, k=chance.randint(1, 12))) for _ in range(40)]
    shuffled = chance.sample(range(40), 40)
    settings = {"level": level, "dtype": "float32", "normalize": False}
    folder = str(folder_of(kind))
    # T5's numbers are as large as 8, and how float32 rounds them is another matter with each shape.
    tolerance = 1e-4 if kind == "t5" else 2e-5
    alone = [embed(text, folder, batch_size=1, **settings) for text in texts[:8]]
    for batch_size in (None, 3, 40):
        every = embed([texts[number] for number in shuffled], folder, batch_size=batch_size, **settings)
        for number in range(8):
            found = every[shuffled.index(number)]
            numpy.testing.assert_allclose(found, alone[number], rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def sentence_transformer():
    return pytest.importorskip("sentence_transformers").SentenceTransformer


@pytest.mark.parametrize("long", [False, True])
def test_equal_to_sentence_transformers(sentence_transformer, long):
    texts = [text * (40 if long else 1) for text in TEXTS]
    theirs = sentence_transformer(resolve_model("minilm").location, device="cpu").encode(texts)
    ours = embed(texts, "minilm", dtype="float32")
    numpy.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("modes", ["cls", ("cls", "mean"), "weightedmean"])
def test_equal_to_sentence_transformers_with_layers_and_prompts(
    sentence_transformer, folder_of, tmp_path, modes
):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    torch.manual_seed(0)
    transformer = modules.Transformer(str(folder_of("bert")), max_seq_length=20)
    pooling = modules.Pooling(32, pooling_mode=modes)
    parts = [transformer, pooling, modules.Dense(pooling.pooling_output_dimension, 24), modules.Normalize()]
    made = SentenceTransformer(
        modules=parts,
        prompts={"query": "a question: ", "document": "a text: "},
        default_prompt_name="document",
        device="cpu",
    )
    made.save(str(tmp_path / "model"))
    for prompt_name, prompt in ((None, None), ("query", "query"), ("document", "document")):
        theirs = made.encode(TEXTS, prompt_name=prompt_name)
        ours = embed(TEXTS, str(tmp_path / "model"), dtype="float32", prompt=prompt)
        assert ours.shape == (len(TEXTS), 24)
        numpy.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    free = made.encode(TEXTS, prompt="anything: ")
    numpy.testing.assert_allclose(
        embed(TEXTS, str(tmp_path / "model"), dtype="float32", prompt="anything: "), free, rtol=0, atol=1e-5
    )
    short = embed(TEXTS, str(tmp_path / "model"), dtype="float32", dim=8)
    cut = made.encode(TEXTS, truncate_dim=8, normalize_embeddings=True)
    numpy.testing.assert_allclose(short, cut, rtol=0, atol=1e-5)
    scores = pipeline("sentence-similarity", str(tmp_path / "model"), device="cpu")(TEXTS[0], TEXTS[1:])
    vectors = torch.nn.functional.normalize(torch.from_numpy(made.encode(TEXTS)), dim=-1)
    assert scores == pytest.approx((vectors[1:] @ vectors[0]).tolist(), abs=1e-5)


def test_a_prompt_is_named_also_where_a_pooling_is(folder_of, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(folder_of("bert"), folder)
    (folder / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": {"query": "a question: "}, "default_prompt_name": "query"})
    )
    plain, named, said = (
        embed("a text", str(folder), pooling="mean", prompt=prompt)
        for prompt in (None, "query", "a question: ")
    )
    numpy.testing.assert_array_equal(named, said)
    assert not numpy.allclose(named, plain)


def test_a_module_that_nobody_knows_is_refused(folder_of, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(folder_of("bert"), folder)
    (folder / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.CNN"}]))
    with pytest.raises(ModelError, match="'CNN'"):
        embed("a text", str(folder))
    assert embed("a text", str(folder), pooling="mean").shape == (32,)


def test_a_prompt_that_is_not_pooled_is_refused(folder_of, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(folder_of("bert"), folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"pooling_mode": "mean", "include_prompt": False})
    )
    with pytest.raises(ModelError, match="include_prompt"):
        embed("a text", str(folder), prompt="query: ")
    assert embed("a text", str(folder)).shape == (32,)


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"layers": "3"}, UsageError, "no such layer"),
        ({"layers": "5:"}, UsageError, "no layer in it"),
        ({"dim": 33}, UsageError, "have 32 numbers"),
        ({"max_length": 2}, UsageError, "adds 2 tokens"),
    ],
)
def test_what_the_model_does_not_have(folder_of, settings, error, says):
    with pytest.raises(error, match=says):
        embed("a text", str(folder_of("bert")), **settings)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
def test_a_model_without_a_pooler(folder_of, kind):
    with pytest.raises(ModelError, match="pooler"):
        embed("a text", str(folder_of(kind)), pooling="pooler")


@pytest.mark.parametrize(
    ("texts", "settings", "kind", "said"),
    [
        ("", {}, DataError, "text 0 is empty"),
        (["a", " "], {}, DataError, "text 1 is empty"),
        (["a", "\ud800"], {}, DataError, "text 1 is not valid Unicode"),
        ("a", {"layer": 1}, UsageError, "did you mean layers"),
        ("a", {"layers": [99]}, UsageError, "no such layer"),
    ],
)
def test_what_embed_refuses(tiny, texts, settings, kind, said):
    with pytest.raises(kind, match=said):
        embed(texts, str(tiny("feature-extraction")), **settings)


def test_layers_are_numbers_too(tiny):
    start = str(tiny("feature-extraction"))
    assert (embed("a b", start, layers=-1) == embed("a b", start)).all()
    assert (embed("a b", start, layers=[1, 2]) == embed("a b", start, layers="1,2")).all()


@pytest.mark.parametrize("layer", ["-1", "0,1,2"])
def test_several_threads_give_the_same(folder_of, four_threads, layer):
    folder = folder_of("bert")
    found = embed(TEXTS * 4, str(folder), layers=layer, batch_size=2, normalize=False)
    wanted = [embed([text], str(folder), layers=layer, normalize=False)[0] for text in TEXTS]
    numpy.testing.assert_allclose(found, wanted * 4, atol=1e-5)
