"""squad: nested questions as flat rows, known by their content or by name."""

import json

import pytest

from llmkit.data.records import BadRecord
from tests.data.reading import places, rows, values

CONTEXT = "Paris is the capital of France."
PARAGRAPH = {
    "context": CONTEXT,
    "qas": [
        {"id": "a", "question": "Which city?", "answers": [{"text": "Paris", "answer_start": 0}]},
        {"id": "b", "question": "Which river?", "answers": [], "is_impossible": True},
    ],
}
FLAT = [
    {
        "id": "a",
        "title": "France",
        "context": CONTEXT,
        "question": "Which city?",
        "answers": {"text": ["Paris"], "answer_start": [0]},
    },
    {
        "id": "b",
        "title": "France",
        "context": CONTEXT,
        "question": "Which river?",
        "answers": {"text": [], "answer_start": []},
    },
]


def document(*paragraphs):
    return json.dumps(
        {"version": "1.1", "data": [{"title": "France", "paragraphs": list(paragraphs)}]}
    ).encode()


@pytest.mark.parametrize("kind", ["squad", "json"])
def test_questions(kind):
    assert values(kind, document(PARAGRAPH)) == FLAT


def test_each_question_has_a_place():
    assert [row.line for row in rows("squad", document(PARAGRAPH, PARAGRAPH))] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("paragraph", "reason"),
    [
        ({"qas": []}, "paragraph 1 of France has no context"),
        ({"context": "x"}, "paragraph 1 of France has no list of questions (qas)"),
        ({"context": "x", "qas": [{"id": "a"}]}, "a question in paragraph 1 of France has no text"),
        (
            {"context": "x", "qas": [{"id": "a", "question": "?", "answers": [{"text": "x"}]}]},
            "question a in paragraph 1 of France: each of its answers needs a text and an answer_start",
        ),
    ],
)
def test_bad_rows(paragraph, reason):
    assert places("squad", document(paragraph, PARAGRAPH))[0] == (1, reason)
    assert len(rows("squad", document(paragraph, PARAGRAPH))) == 3


def test_other_json_is_as_it_was():
    assert values("json", b'[{"paragraphs": ["a", "b"]}]') == [{"paragraphs": ["a", "b"]}]
    assert places("squad", b'[{"a": 1}]') == [(1, "article 1 has no list of paragraphs")]


def test_real_data(shared_data):
    from llmkit.data.sources import read_file

    found = list(read_file(str(shared_data / "squad_v1.1" / "dev-v1.1.json")))
    assert len(found) == 10570
    assert not any(isinstance(row, BadRecord) for row in found)
    assert found[0].values["id"] == "56be4db0acb8001400a502ec"
