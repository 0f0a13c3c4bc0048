"""Texts longer than the model takes: the pieces they are cut into, and how results become one."""

import itertools
import math
import re
import unicodedata

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.inference.long_texts import (
    Piece,
    merge_scores,
    merge_sections,
    merge_spans,
    merger_of,
    split,
    truncate,
)
from llmkit.models.resolving import resolve_model
from llmkit.tasks.catalogue import Long, find_task
from tests.fixtures.tiny import vocabulary

TOKENIZERS = {
    "minilm": transformers.AutoTokenizer.from_pretrained(resolve_model("minilm").location),
    "byte-level": vocabulary.bart(64),
    "unigram": vocabulary.t5(),
}
each_tokenizer = pytest.mark.parametrize("name", TOKENIZERS)

WORDS = st.sampled_from(
    [
        "the",
        "bank",
        "raised",
        "Rates",
        "unbelievably",
        "naïve",
        "東京",
        "都は",
        "🎉",
        "👩\u200d👩\u200d👧",
        "don't",
        "3.14",
        "U.S.",
        "ﷺ",
        "Ångström",
        "été",
        "-",
        "…",
        "x" * 40,
        "pneumonoultramicroscopicsilicovolcanoconiosis",
    ]
)
SPACES = st.sampled_from([" ", "  ", "\n", "\n\n", ". ", "! ", "。", "", "\t", '." '])
TEXTS = st.lists(st.tuples(WORDS, SPACES), min_size=1, max_size=60).map(
    lambda parts: "".join(word + space for word, space in parts)
)
ANY_TEXT = st.one_of(TEXTS, st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
LIMITS = st.integers(12, 60)
PROSE = (
    "The bank raised its rates. Customers were not amused! Would they leave? "
    "Some did, in the spring. Others stayed on… and regretted it.\n\nA new paragraph begins here. It ends. "
)


def count(tokenizer, text):
    return len(tokenizer(text, verbose=False)["input_ids"])


def is_one_character(text):
    """Some characters are as many as 18 tokens, and cannot be cut; ZWJ and accents go with the one before."""
    return len(unicodedata.normalize("NFC", text.strip())) <= 1


def covered(text, pieces):
    """The positions of the text that lie in a piece."""
    return {position for piece in pieces for position in range(piece.start, piece.start + len(piece.text))}


@each_tokenizer
@pytest.mark.parametrize("long", [Long.SPANS, Long.SCORES, Long.SECTIONS])
class TestSplit:
    @settings(max_examples=40, deadline=None)
    @given(text=ANY_TEXT, limit=LIMITS)
    def test_each_piece_fits(self, name, long, text, limit):
        for piece in split(text, TOKENIZERS[name], limit, long):
            assert count(TOKENIZERS[name], piece.text) <= limit or is_one_character(piece.text), piece

    @settings(max_examples=40, deadline=None)
    @given(text=TEXTS, limit=LIMITS)
    def test_no_character_is_lost(self, name, long, text, limit):
        pieces = split(text, TOKENIZERS[name], limit, long)
        assert all(text[piece.start : piece.start + len(piece.text)] == piece.text for piece in pieces)
        seen = covered(text, pieces)
        assert not [text[i] for i in range(len(text)) if i not in seen and not text[i].isspace()]

    @pytest.mark.parametrize("word", ["a" * 3000, "銀行" * 400, "🎉" * 300, "ab-" * 500])
    def test_one_giant_word(self, name, long, word):
        pieces = split(word, TOKENIZERS[name], 16, long)
        assert all(count(TOKENIZERS[name], piece.text) <= 16 for piece in pieces)
        assert covered(word, pieces) == set(range(len(word)))


@each_tokenizer
@settings(max_examples=60, deadline=None)
@given(text=TEXTS, limit=LIMITS)
def test_of_overlapping_pieces_each_character_has_one_authority(name, text, limit):
    pieces = split(text, TOKENIZERS[name], limit, Long.SPANS)
    edges = [0, *(piece.own_to for piece in pieces)]
    assert [piece.own_from for piece in pieces] == edges[:-1]
    assert edges[-1] == len(text)
    assert edges == sorted(edges)
    for piece in pieces:
        assert piece.start <= piece.own_from
        assert not text[piece.start + len(piece.text) : piece.own_to].strip()


@each_tokenizer
def test_each_has_the_half_of_what_is_shared_that_lies_deeper_in_it(name):
    pieces = split(PROSE * 20, TOKENIZERS[name], 66, Long.SPANS)
    for one, two in itertools.pairwise(pieces):
        before, after = one.own_to - two.start, one.start + len(one.text) - one.own_to
        assert min(before, after) > 0.25 * (before + after)


@each_tokenizer
def test_neighbours_share_about_a_quarter(name):
    text = PROSE * 20
    pieces = split(text, TOKENIZERS[name], 66, Long.SPANS)
    shared = [one.start + len(one.text) - two.start for one, two in itertools.pairwise(pieces)]
    assert len(pieces) > 5
    assert all(len(pieces[0].text) // 8 < overlap < len(pieces[0].text) // 2 for overlap in shared)


class TestSections:
    @each_tokenizer
    def test_they_end_where_a_sentence_ends(self, name):
        tokenizer = TOKENIZERS[name]
        text = PROSE * 6
        longest = max(count(tokenizer, sentence) for sentence in re.split(r"(?<=[.!?…])\s+", text))
        pieces = split(text, tokenizer, longest * 2, Long.SECTIONS)
        assert len(pieces) > 2
        assert all(piece.text[-1] in ".!?…" for piece in pieces)

    @each_tokenizer
    def test_a_section_is_as_long_as_whole_sentences_make_it(self, name):
        tokenizer = TOKENIZERS[name]
        sentences = ["This is a sentence of the text."] * 40
        limit = count(tokenizer, " ".join(sentences[:3]))
        pieces = split(" ".join(sentences), tokenizer, limit, Long.SECTIONS)
        assert [piece.text for piece in pieces] == [" ".join(sentences[:3])] * 13 + [sentences[0]]

    def test_a_full_width_mark_ends_a_sentence_without_a_space(self):
        pieces = split("银行提高了利率。客户不高兴！" * 8, TOKENIZERS["minilm"], 24, Long.SECTIONS)
        assert len(pieces) > 3
        assert all(piece.text[-1] in "。！" for piece in pieces)

    def test_words_stay_whole_where_a_sentence_is_too_long(self):
        words = "unbelievably naive pneumonologists " * 20
        pieces = split(words, TOKENIZERS["minilm"], 24, Long.SECTIONS)
        assert " ".join(piece.text for piece in pieces).split() == words.split()

    def test_what_stood_between_them_is_kept(self):
        pieces = split("One is here.\n\nTwo is here. Three is here.", TOKENIZERS["minilm"], 6, Long.SECTIONS)
        assert [(piece.text, piece.joint) for piece in pieces[:2]] == [
            ("One is here.", "\n"),
            ("Two is here.", " "),
        ]

    @settings(max_examples=60, deadline=None)
    @given(text=TEXTS, limit=LIMITS)
    def test_they_do_not_overlap(self, text, limit):
        pieces = split(text, TOKENIZERS["minilm"], limit, Long.SECTIONS)
        for one, two in itertools.pairwise(pieces):
            assert one.start + len(one.text) <= two.start


class TestTruncate:
    @each_tokenizer
    @settings(max_examples=80, deadline=None)
    @given(text=ANY_TEXT, limit=LIMITS)
    def test_it_is_a_beginning_that_fits(self, name, text, limit):
        short = truncate(text, TOKENIZERS[name], limit)
        assert text.startswith(short)
        assert count(TOKENIZERS[name], short) <= limit or is_one_character(short)

    @each_tokenizer
    @given(text=TEXTS)
    @settings(max_examples=40, deadline=None)
    def test_what_fits_is_left_alone(self, name, text):
        assert truncate(text, TOKENIZERS[name], count(TOKENIZERS[name], text)) == text

    @each_tokenizer
    def test_it_is_as_long_as_it_can_be(self, name):
        text = PROSE * 5
        short = truncate(text, TOKENIZERS[name], 40)
        word = re.match(r"\s*\S+\s+\S+", text[len(short) :])[0]
        assert count(TOKENIZERS[name], short + word) > 40


def tag(tokenizer, text):
    """A token classifier whose label depends on the token alone: spans as the pipeline gives them."""
    encoding = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False)
    rows = zip(
        encoding["input_ids"], encoding["offset_mapping"], encoding["special_tokens_mask"], strict=True
    )
    return [
        {"entity": f"L{token % 3}", "score": 1 / (1 + token), "index": index, "start": start, "end": end}
        for index, (token, (start, end), special) in enumerate(rows)
        if not special and token % 3
    ]


PLAIN_WORDS = st.sampled_from(
    [
        "the",
        "bank",
        "raised",
        "rates",
        "Angela",
        "Merkel",
        "lives",
        "in",
        "Berlin",
        "unbelievably",
        "don't",
        "2019",
        ",",
        ".",
    ]
)


@pytest.mark.parametrize("name", ["minilm", "byte-level"])
@settings(max_examples=60, deadline=None)
@given(words=st.lists(PLAIN_WORDS, min_size=1, max_size=150), limit=st.integers(30, 60))
def test_spans_of_the_pieces_are_those_of_the_whole(name, words, limit):
    tokenizer, text = TOKENIZERS[name], " ".join(words)
    pieces = split(text, tokenizer, limit, Long.SPANS)
    assert merge_spans([tag(tokenizer, piece.text) for piece in pieces], pieces) == tag(tokenizer, text)


@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(
        st.sampled_from(["Angela", "Merkel", "東京", "🎉🎉", "naïve", "in"]), min_size=1, max_size=90
    )
)
def test_entities_keep_their_place_whatever_the_script(words):
    tokenizer, text = TOKENIZERS["minilm"], " ".join(words)
    pieces = split(text, tokenizer, 40, Long.SPANS)
    found = [
        [
            {"word": match[0], "start": match.start(), "end": match.end()}
            for match in re.finditer(r"\S+", piece.text)
        ]
        for piece in pieces
    ]
    merged = merge_spans(found, pieces)
    assert [span["word"] for span in merged] == words
    assert all(text[span["start"] : span["end"]] == span["word"] for span in merged)


class TestScores:
    PIECES = (Piece("a", 0, 0, 30, 0, 1), Piece("b", 1, 30, 10, 1, 2))
    RESULTS = (
        [{"label": "good", "score": 0.8}, {"label": "bad", "score": 0.2}],
        [{"label": "bad", "score": 1.0}, {"label": "good", "score": 0.0}],
    )

    def test_pieces_weigh_what_they_have_tokens(self):
        ranked = merge_scores(self.RESULTS, self.PIECES, None, as_list=True)
        assert [each["label"] for each in ranked] == ["good", "bad"]
        assert [each["score"] for each in ranked] == pytest.approx([0.6, 0.4])

    def test_as_many_as_asked_for(self):
        assert [each["label"] for each in merge_scores(self.RESULTS, self.PIECES, 1, as_list=True)] == [
            "good"
        ]
        assert merge_scores(self.RESULTS, self.PIECES, None, as_list=False)["label"] == "good"

    @given(
        st.lists(
            st.tuples(st.integers(1, 500), st.lists(st.floats(0.01, 1), min_size=3, max_size=3)), min_size=1
        )
    )
    def test_probabilities_stay_probabilities(self, parts):
        pieces = [Piece("", 0, 0, tokens, 0, 0) for tokens, _ in parts]
        results = [
            [
                {"label": label, "score": score / sum(scores)}
                for label, score in zip("abc", scores, strict=True)
            ]
            for _, scores in parts
        ]
        merged = merge_scores(results, pieces, None, as_list=True)
        assert sum(each["score"] for each in merged) == pytest.approx(1)
        assert merged == sorted(merged, key=lambda each: -each["score"])

    @pytest.mark.parametrize(
        ("parameters", "shape"), [({}, dict), ({"top_k": None}, list), ({"top_k": 1}, list)]
    )
    def test_the_shape_is_the_calls(self, parameters, shape):
        merge = merger_of(find_task("text-classification").task, parameters)
        assert isinstance(merge(self.RESULTS, self.PIECES), shape)


class TestMergeSections:
    PIECES = (Piece("a", 0, 0, 1, 0, 1, "\n"), Piece("b", 1, 1, 1, 1, 2, " "), Piece("c", 2, 2, 1, 2, 3))

    def test_the_texts_are_joined_as_the_sections_were(self):
        results = [{"summary_text": text} for text in (" One.", "Two. ", "Three.")]
        assert merge_sections(results, self.PIECES, "summary_text") == {"summary_text": "One.\nTwo. Three."}

    def test_a_score_is_the_geometric_mean(self):
        results = [{"t": "x", "score": score} for score in (0.5, 0.25, 0.125)]
        assert merge_sections(results, self.PIECES, "t")["score"] == pytest.approx(0.25)
        results[0]["score"] = 0.0
        assert math.isfinite(merge_sections(results, self.PIECES, "t")["score"])

    def test_the_first_of_each_is_joined_with_the_first(self):
        results = [[{"t": f"{name}{number}"} for number in (1, 2)] for name in "abc"]
        assert merge_sections(results, self.PIECES, "t") == [{"t": "a1\nb1 c1"}, {"t": "a2\nb2 c2"}]

    def test_of_a_task(self):
        merge = merger_of(find_task("summarization").task, {})
        assert merge([{"summary_text": text} for text in "abc"], self.PIECES) == {"summary_text": "a\nb c"}
