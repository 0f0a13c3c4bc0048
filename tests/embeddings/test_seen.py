"""What a run remembers of the texts it has met."""

from __future__ import annotations

import numpy
import pytest

from llmkit.embeddings.embedding import Embedding, Units
from llmkit.embeddings.seen import SeenTexts, forget
from llmkit.embeddings.words import Word
from llmkit.errors import OutputError

SENTENCE = Embedding("a 🙂 text", numpy.float32([1, 2.5, -3e-30]), 5, 2)
WORD = Embedding("the bank", numpy.float32([0.1, 0.2]), 4, word=Word("bank", 4, 8, (2, 3)))
TOKENS = Embedding(
    "\ud800 odd",
    numpy.arange(6, dtype=numpy.float32).reshape(3, 2),
    3,
    units=Units(["[CLS]", "odd", "[SEP]"], [(0, 0), (2, 5), (0, 0)], [True, False, True], [1, 2, 3]),
)


def same(one, other):
    return (
        (one.vectors == other.vectors).all()
        and one.vectors.shape == other.vectors.shape
        and (one.text, one.tokens, one.cut, one.units, one.word)
        == (other.text, other.tokens, other.cut, other.units, other.word)
    )


@pytest.mark.parametrize("path", [None, "out.npy.seen"])
def test_what_was_met_comes_back(tmp_path, path):
    seen = SeenTexts(tmp_path / path if path else None)
    assert seen.find([SENTENCE.text]) == {}
    seen.add(0, [SENTENCE, WORD, TOKENS])
    found = seen.find([TOKENS.text, "another", SENTENCE.text, WORD.text])
    assert set(found) == {SENTENCE.text, WORD.text, TOKENS.text}
    assert all(same(found[each.text], each) for each in (SENTENCE, WORD, TOKENS))
    seen.close()


def test_the_first_of_two_stays(tmp_path):
    seen = SeenTexts(tmp_path / "seen")
    seen.add(0, [SENTENCE])
    seen.add(64, [Embedding(SENTENCE.text, numpy.float32([9]), 1)])
    assert same(seen.find([SENTENCE.text])[SENTENCE.text], SENTENCE)


def test_a_run_that_goes_on_knows_what_was_made_last(tmp_path):
    path = tmp_path / "seen"
    first = SeenTexts(path)
    first.add(0, [SENTENCE])
    first.add(64, [WORD])
    first.close()
    assert set(SeenTexts(path, rows_done=64).find([SENTENCE.text, WORD.text])) == {SENTENCE.text}
    assert SeenTexts(path).find([SENTENCE.text]) == {}
    forget(path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "seen").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(OutputError, match="--dedupe cannot keep"):
        SeenTexts(tmp_path / "seen", rows_done=1)
