"""conll: sentences of words and tags; tabs or spaces, comments, lines that are too short."""

import pytest

from llmkit.data.records import BadRecord
from tests.data.reading import places, rows, until_error, values


def sentence(words, tags):
    return {"words": words.split(), "tags": tags.split()}


TWO = [sentence("EU rejects", "B-ORG O"), sentence("Berlin", "B-LOC")]


@pytest.mark.parametrize(
    "data",
    [
        b"EU\tB-ORG\nrejects\tO\n\nBerlin\tB-LOC\n",
        b"EU B-ORG\nrejects O\n\nBerlin B-LOC",
        b"EU\tB-ORG\r\nrejects\tO\r\n\r\n\r\nBerlin\tB-LOC\r\n\r\n",
        b"\xef\xbb\xbf\n\nEU  B-ORG \nrejects  O\n\t\nBerlin  B-LOC\n",
    ],
)
def test_sentences(data):
    assert values("conll", data) == TWO


def test_places_are_of_the_first_word():
    assert [row.line for row in rows("conll", b"-DOCSTART- O\n\n# id 1\na O\nb O\n\n\nc O\n")] == [4, 8]


def test_columns_between():
    data = b"-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n"
    assert values("conll", data) == [
        {
            "words": ["EU", "rejects"],
            "column2": ["NNP", "VBZ"],
            "column3": ["B-NP", "B-VP"],
            "tags": ["B-ORG", "O"],
        }
    ]


def test_a_word_with_a_space_in_it():
    assert values("conll", b"New York\tB-LOC\n") == [{"words": ["New York"], "tags": ["B-LOC"]}]


class TestComments:
    @pytest.mark.parametrize(
        "data",
        [
            b"# id 4b1f domain=en\nEU _ _ B-ORG\n",
            b"# id 4b1f\tdomain=en\nEU _ _ B-ORG\n",
            b"#begin document (x); part 000\nEU _ _ B-ORG\n#end document\n",
            b"#\nEU _ _ B-ORG\n",
        ],
    )
    def test_passed_over(self, data):
        assert [row["words"] for row in values("conll", data)] == [["EU"]]

    @pytest.mark.parametrize("data", [b"# O\n#tag B-x\n", b"#\tO\n#tag\tB-x\n"])
    def test_words_are_not_comments(self, data):
        assert values("conll", data) == [{"words": ["#", "#tag"], "tags": ["O", "B-x"]}]

    def test_by_tabs_a_comment_has_none(self):
        assert values("conll", b"a\tO\n#B-x O\nb\tO\n") == [sentence("a b", "O O")]


class TestBadLines:
    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            (b"rejects", "a word and its tag are expected, and the line is 'rejects'"),
            (b"rejects\t", "a word and its tag are expected"),
            (b"\tO", "a word and its tag are expected"),
            (b"rejects\tVBZ\tO", "3 columns, and line 1 has 2"),
            (b"\xff\tO", "not UTF-8: byte 0xff at column 1"),
        ],
    )
    def test_reason(self, line, reason):
        found = rows("conll", b"EU\tO\n" + line + b"\nit\tO\n\nBerlin\tO\n")
        assert [row.line for row in found] == [2, 5]
        assert isinstance(found[0], BadRecord)
        assert found[0].reason.startswith(reason)
        assert found[1].values == sentence("Berlin", "O")

    def test_a_sentence_without_end(self, monkeypatch):
        monkeypatch.setenv("LLMKIT_MAX_ROW_CHARS", "20")
        found = places("conll", b"word\tO\n" * 10 + b"\nlast\tO\n")
        assert found[0][0] == 1
        assert found[0][1].startswith("sentence is ")
        assert found[1] == (12, sentence("last", "O"))


def test_only_comments():
    assert until_error("conll", b"# nothing\n\n") == ([], "in is empty")


def test_real_data(shared_data):
    from llmkit.data.sources import read_file

    folder = shared_data / "wnut17"
    counts = {
        name: len(list(read_file(str(folder / name), format="conll")))
        for name in ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated")
    }
    # As the shared task has them: https://aclanthology.org/W17-4418
    assert counts["wnut17train.conll"] == 3394
    found = list(read_file(str(folder / "wnut17train.conll")))
    assert not any(isinstance(row, BadRecord) for row in found)
    assert counts["emerging.test.annotated"] == 1287
