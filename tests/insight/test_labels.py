"""What a person sees of a token: every character, and none that hides or steers."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from llmkit.insight.labels import readable_tokens, visible
from tests.fixtures.tiny import vocabulary


@given(st.text())
def test_nothing_is_invisible(text):
    shown = visible(text)
    assert not any(unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp") for each in shown)
    if all(unicodedata.category(each)[0] in "LNPSZ" for each in text):
        assert shown == text or "\u2028" in text or "\u2029" in text


def test_what_is_hidden_is_named():
    assert visible("a\u200bb\u202ec\x1b[31m\n") == "a\\u200bb\\u202ec\\x1b[31m⏎"


def test_byte_level_tokens_are_read():
    tokenizer = vocabulary.gpt()
    tokens = tokenizer.tokenize("a cat é\n😀")
    labels = readable_tokens(tokenizer, tokens)
    assert labels[0] == "a"
    assert any(label.startswith("␣") for label in labels)
    assert "⏎" in "".join(labels)
    # A part of a character stays as the vocabulary has it.
    assert labels[-1] == tokens[-1]


def test_word_pieces_stay():
    tokenizer = vocabulary.bert()
    tokens = ["[CLS]", "un", "##be", "[SEP]"]
    assert readable_tokens(tokenizer, tokens) == tokens
