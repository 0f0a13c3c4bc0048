"""From a row's fields to what a pipeline is called with."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.tasks.catalogue import find_task, tasks
from llmkit.tasks.inputs import FieldValues, RowError, chat_messages, compose

ZERO_SHOT = "zero-shot-classification"
USER = [{"role": "user", "content": "Hi"}]


def made(task, **values):
    if task not in tasks():
        pytest.skip(f"the installed transformers has no task {task}")
    return compose(find_task(task).task, values)


@pytest.mark.parametrize(
    ("task", "values", "value", "parameters", "texts"),
    [
        ("text-classification", {"text": "a"}, "a", {}, ("a",)),
        ("text-classification", {"text": 42}, "42", {}, ("42",)),
        ("text-classification", {"text": "a", "text_pair": "b"}, {"text": "a", "text_pair": "b"}, {}, ("a", "b")),
        ("text-classification", {"text": "a", "text_pair": ""}, "a", {}, ("a",)),
        ("question-answering", {"context": "c", "question": "q"}, {"question": "q", "context": "c"}, {}, ("q", "c")),
        (ZERO_SHOT, {"text": "a", "candidate_labels": "x, y"}, "a", {"candidate_labels": ["x", "y"]}, ("a",)),
        (ZERO_SHOT, {"text": "a", "candidate_labels": '["x, y"]'}, "a", {"candidate_labels": ["x, y"]}, ("a",)),
        (ZERO_SHOT, {"text": "a", "candidate_labels": ["x"]}, "a", {"candidate_labels": ["x"]}, ("a",)),
        (
            "sentence-similarity",
            {"source_sentence": "a", "sentences": ["b", "c"]},
            {"source_sentence": "a", "sentences": ["b", "c"]}, {}, ("a", "b", "c"),
        ),
        (
            "zero-shot-object-detection",
            {"image": 0, "candidate_labels": "x,y"},
            {"image": 0, "candidate_labels": ["x", "y"]}, {}, ("x", "y"),
        ),
        ("keypoint-matching", {"first": 1, "second": 2}, [1, 2], {}, ()),
        ("text-generation", {"messages": USER}, USER, {}, ()),
        ("text-generation", {"text": "Once"}, "Once", {}, ("Once",)),
        ("conversational", {"messages": "Hi"}, USER, {}, ()),
        (
            "image-text-to-text",
            {"image": "cat.jpg", "text": "what?"},
            [{"role": "user", "content": [{"type": "image", "image": "cat.jpg"}, {"type": "text", "text": "what?"}]}],
            {}, ("what?",),
        ),
        ("image-text-to-text", {"messages": USER}, USER, {}, ()),
        ("decision", {"state": "free text", "questions": "{}"}, {"state": "free text", "questions": {}}, {}, ()),
    ],
)  # fmt: skip
def test_what_a_row_becomes(task, values, value, parameters, texts):
    found = made(task, **values)
    assert (found.value, found.parameters, found.texts) == (value, parameters, texts)


@pytest.mark.parametrize(
    ("task", "values", "said"),
    [
        ("text-classification", {}, "no value for 'text'"),
        ("text-classification", {"text": None}, "no value for 'text'"),
        ("text-classification", {"text": "  \n"}, "'text' is empty"),
        ("text-classification", {"text": ["a"]}, "'text' should be a text, not list"),
        ("text-classification", {"text": True}, "'text' should be a text, not bool"),
        ("question-answering", {"question": "q"}, "no value for 'context'"),
        ("question-answering", {"question": "", "context": "c"}, "'question' is empty"),
        ("zero-shot-classification", {"text": "a", "candidate_labels": " , "}, "'candidate_labels' is empty"),
        ("zero-shot-classification", {"text": "a", "candidate_labels": []}, "should be a list"),
        ("sentence-similarity", {"source_sentence": "a", "sentences": ["b", ""]}, "'sentences' is empty"),
        ("conversational", {}, "no value for 'messages'"),
        ("conversational", {"messages": ""}, "the message is empty"),
        ("conversational", {"messages": []}, "should be a list"),
        ("conversational", {"messages": [{"role": "user"}]}, "message 1 needs 'role' and 'content'"),
        ("conversational", {"messages": [*USER, "Hi"]}, "message 2 needs 'role' and 'content'"),
        ("image-text-to-text", {"image": "a.png"}, "no value for 'text'"),
        ("decision", {"state": "x", "questions": "{"}, "'questions' is not valid JSON"),
    ],
)
def test_what_a_row_lacks(task, values, said):
    with pytest.raises(RowError, match=said):
        made(task, **values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"question": "q", "context": " "}, "'article' is empty"),
        ({"question": "q"}, "no value for 'article'"),
        ({"question": ["q"], "context": "c"}, "'question' should be a text, not list"),
    ],
)
def test_an_error_names_a_field_as_its_input_does(values, said):
    with pytest.raises(RowError, match=said):
        compose(find_task("question-answering").task, FieldValues(values, {"context": "article"}))


@pytest.mark.parametrize(
    "value",
    ["Hi", USER, {"messages": USER}, USER[0], json.dumps(USER), json.dumps({"messages": USER})],
    ids=str,
)
def test_messages_in_every_form(value):
    assert chat_messages(value) == USER


def test_messages_are_copied():
    original = [{"role": "user", "content": "Hi"}]
    chat_messages(original)[0]["content"] = "changed"
    assert original == USER


@given(
    st.text(st.characters(exclude_categories=["Cs"])).filter(
        lambda text: text.strip()[:1] not in ("", "[", "{")
    )
)
def test_any_other_text_is_one_message(text):
    assert chat_messages(text) == [{"role": "user", "content": text}]


@given(st.lists(st.text("abc ,", min_size=1).filter(str.strip), min_size=1))
def test_a_list_of_labels_stays_as_it_is(labels):
    assert made("zero-shot-classification", text="a", candidate_labels=labels).parameters == {
        "candidate_labels": labels
    }
    as_json = made("zero-shot-classification", text="a", candidate_labels=json.dumps(labels))
    assert as_json.parameters == {"candidate_labels": labels}
