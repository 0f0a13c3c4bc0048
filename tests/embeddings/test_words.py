"""Tokens and words stand where the text says they do, whatever the tokenizer."""

from __future__ import annotations

import functools
import io
import itertools
import tempfile
from pathlib import Path

import numpy
import pytest
import transformers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from llmkit import embed
from llmkit.embeddings.tokens import TextTokenizer
from llmkit.embeddings.words import occurrences, word_spans, words_of
from llmkit.models.resolving import resolve_model
from tests.embeddings.conftest import encoder_of
from tests.fixtures.tiny import vocabulary

NAMES = (
    "wordpiece",
    "minilm",
    "byte-level",
    "byte-level with a space before",
    "unigram",
    "normalizing",
    "sentencepiece",
    "sentencepiece with bytes",
)


@functools.cache
def tokenizer_of(name):
    return {
        "wordpiece": vocabulary.bert,
        "minilm": lambda: transformers.AutoTokenizer.from_pretrained(resolve_model("minilm").location),
        "byte-level": vocabulary.gpt,
        "byte-level with a space before": vocabulary.bart,
        "unigram": vocabulary.t5,
        "normalizing": normalizing,
        "sentencepiece": xlm_roberta,
        "sentencepiece with bytes": llama,
    }[name]()


def normalizing():
    """SentencePiece as T5 and XLM-R have it: NFKC, runs of spaces made one."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(
        vocabulary.CORPUS,
        trainers.UnigramTrainer(vocab_size=200, special_tokens=["<unk>"], unk_token="<unk>"),
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def sentence_piece(kind, reader, file, **options):
    """A model that sentencepiece itself trained, as transformers reads it."""
    trainer = pytest.importorskip("sentencepiece").SentencePieceTrainer
    model = io.BytesIO()
    trainer.train(
        sentence_iterator=iter(vocabulary.CORPUS),
        model_writer=model,
        model_type=kind,
        vocab_size=600,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, file).write_bytes(model.getvalue())
        return reader.from_pretrained(folder)


def xlm_roberta():
    """With sentencepiece's own table of normalization, which transformers takes as it is."""
    return sentence_piece(
        "unigram",
        transformers.XLMRobertaTokenizer,
        "sentencepiece.bpe.model",
        normalization_rule_name="nmt_nfkc",
    )


def llama():
    """What the vocabulary lacks is spelled in bytes, of which several stand at one character."""
    return sentence_piece(
        "bpe",
        transformers.LlamaTokenizer,
        "tokenizer.model",
        normalization_rule_name="identity",
        byte_fallback=True,
    )


def tokenized(name, text, prompt=""):
    tokenizer = TextTokenizer(tokenizer_of(name), None, has_offsets=True, prompt=prompt)
    return tokenizer.tokenize([text])[0]


TEXTS = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from(
            "aaabcde    the bank.,;:!?'’-éèüßøñ日本語銀行한국어🙂👩‍👩‍👧🇩🇪ﬁ½Ⅷ①\u0301\u00a0\u200d\t\n"
        ),
    ),
    min_size=1,
    max_size=40,
).filter(lambda text: bool(text.strip()))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=150)
@given(text=TEXTS, prompt=st.sampled_from(["", "query: ", "日本 "]))
@example(text="the the the bank, the bank!", prompt="")
@example(text="the cafe\u0301 ﬁne ½ ①", prompt="")
@example(text="銀行 bank 🙂👩‍👩‍👧 don't", prompt="query: ")
def test_offsets_cut_the_original_text(name, text, prompt):
    found = tokenized(name, text, prompt)
    if not hasattr(found, "pieces"):  # a text that the tokenizer makes nothing of
        return
    (piece,) = found.pieces
    assert len(piece.ids) == len(piece.offsets) == len(piece.special) == found.tokens
    for start, end in piece.offsets:
        assert 0 <= start <= end <= len(text)
    words = words_of(text, piece.offsets, piece.special)
    at = 0
    for word in words:
        assert text[word.start : word.end] == word.text and word.text.strip()
        assert at <= word.start < word.end
        at = word.end
        assert word.tokens == tuple(sorted(set(word.tokens))) != ()
        for number in word.tokens:
            start, end = piece.offsets[number]
            assert not piece.special[number] and start < word.end and word.start < end
    # Every token that covers more than white space is in a word, and every word's text that has tokens is covered.
    used = {number for word in words for number in word.tokens}
    for number, ((start, end), special) in enumerate(zip(piece.offsets, piece.special, strict=True)):
        if not special and text[start:end].strip():
            assert number in used
            for place in range(start, end):
                inside = any(word.start <= place < word.end for word in words)
                assert inside or text[place].isspace()


@given(text=TEXTS)
def test_words_are_all_of_a_text_but_its_spaces(text):
    spans = word_spans(text)
    covered = "".join(text[start:end] for start, end in spans)
    assert "".join(covered.split()) == "".join(text.split())
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))


@pytest.mark.parametrize("name", NAMES)
def test_a_text_of_plain_words_gives_just_these(name):
    text = "She can't see the  bank, the bank; naïve café."
    found = tokenized(name, text).pieces[0]
    words = [word.text for word in words_of(text, found.offsets, found.special)]
    assert words == "She can't see the bank , the bank ; naïve café .".split()  # noqa: SIM905


def places(word, text, name="wordpiece"):
    piece = tokenized(name, text).pieces[0]
    found = occurrences(word, words_of(text, piece.offsets, piece.special))
    return [(each.start, each.end) for each in found]


@pytest.mark.parametrize("name", NAMES)
def test_a_word_is_found_where_it_stands(name):
    text = "Banks embank: the Bank by the bank of New  York."
    assert places("bank", text, name) == [(18, 22), (30, 34)]
    assert places("new york", text, name) == [(38, 47)]
    assert places("ban", text, name) == []
    assert places(":", text, name) == [(12, 13)]


def test_several_words_in_a_row_are_given_as_the_text_has_them():
    text = "Well... an e-mail from New  York"
    piece = tokenized("wordpiece", text).pieces[0]
    words = words_of(text, piece.offsets, piece.special)
    asked = ("...", "E-Mail", "new york")
    assert [occurrences(each, words)[0].text for each in asked] == ["...", "e-mail", "New York"]


def test_an_accent_may_be_written_in_two_ways():
    assert places("café", "the cafe\u0301 here") == [(4, 9)]
    assert places("cafe\u0301", "the café here") == [(4, 8)]


@pytest.mark.parametrize("subwords", ["mean", "first", "max"])
@pytest.mark.parametrize("kind", ["bert", "gpt2", "t5"])
def test_a_words_vector_is_made_of_its_tokens(folder_of, kind, subwords):
    text = "Unbelievable politics, unbelievable!"
    folder = str(folder_of(kind))
    tokens = embed(text, folder, level="token", dtype="float32")
    words = embed(text, folder, level="word", subwords=subwords, dtype="float32")
    encoder = encoder_of(folder, level="token")
    piece = encoder.tokenizer.tokenize([text])[0].pieces[0]
    found = words_of(text, piece.offsets, piece.special)
    assert [word.text for word in found] == ["Unbelievable", "politics", ",", "unbelievable", "!"]
    assert len(found[0].tokens) > 1
    reduce = {
        "mean": lambda parts: parts.mean(axis=0),
        "first": lambda parts: parts[0],
        "max": lambda parts: parts.max(axis=0),
    }
    for word, vector in zip(found, words, strict=True):
        expected = reduce[subwords](tokens[list(word.tokens)])
        numpy.testing.assert_allclose(vector, expected, rtol=0, atol=1e-4)
    one = embed(text, folder, word="POLITICS", subwords=subwords, dtype="float32")
    numpy.testing.assert_allclose(one, words[1], rtol=0, atol=1e-5)
