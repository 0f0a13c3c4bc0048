"""What a request may say, looked at before any model."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import Any

import pytest

from llmkit.serving.task_requests import BadRequestError, TaskRequest, read_request
from llmkit.tasks.catalogue import find_task
from tests.fixtures.versions import offers_decision

PIPE = SimpleNamespace(_sanitize_parameters=lambda **_: ({}, {}, {}))
PICTURE = base64.b64encode(b"picture").decode()


def read(task: str, body: Any) -> TaskRequest:
    return read_request(find_task(task), PIPE, body)


def test_the_question_may_stand_beside_the_image_as_the_hubs_client_sends_it():
    body = {"inputs": PICTURE, "parameters": {}, "question": "How many?", "image": PICTURE}

    found = read("visual-question-answering", body)

    assert found.rows == [{"question": "How many?", "image": b"picture"}]
    assert not found.is_list


def test_what_an_input_says_itself_comes_before_what_stands_beside():
    body = {"inputs": [{"image": PICTURE, "question": "mine"}, {"image": PICTURE}], "question": "ours"}

    found = read("visual-question-answering", body)

    assert [row["question"] for row in found.rows] == ["mine", "ours"]
    assert found.is_list


@offers_decision
@pytest.mark.parametrize(
    "asset", ["/etc/passwd", {"data_base64": "http://127.0.0.1/x"}, {"data_base64": "etc/passwd"}, {}]
)
def test_an_asset_of_a_decision_is_no_path(asset):
    questions = {"q": {"type": "noul", "instructions": "Is it?"}}

    with pytest.raises(BadRequestError, match="assets"):
        read("decision", {"inputs": {"state": "x", "questions": questions, "assets": {"a": asset}}})


@offers_decision
def test_an_asset_in_base64_is_taken():
    inputs = {"state": "x", "questions": {}, "assets": {"a": {"type": "image", "data_base64": PICTURE}}}

    assert read("decision", {"inputs": inputs}).rows[0]["assets"] == {"a": b"picture"}


@pytest.mark.parametrize(
    ("task", "parameters"),
    [
        ("document-question-answering", {"tesseract_config": "-c tessedit_write_params_to_file=x"}),
        ("document-question-answering", {"lang": "../../x"}),
        ("text-generation", {"bad_words_ids": [[1]], "num_beams": 9}),
        ("text-generation", {"tools": [{"deep": [{"custom_generate": "acme/evil"}]}]}),
        ("text-generation", {"max_new_tokens": 1e9}),
        ("image-text-to-text", {"generate_kwargs": {"assistant_model": "acme/evil"}}),
    ],
)
def test_a_harmful_parameter_is_refused(task, parameters):
    body = {
        "inputs": {"image": PICTURE, "question": "x"} if "document" in task else "x",
        "parameters": parameters,
    }

    with pytest.raises(BadRequestError):
        read(task, body)


@pytest.mark.parametrize("name", ["eos_token_id", "forced_bos_token_id", "suppress_tokens"])
def test_the_number_of_a_token_may_be_large(name):
    value = [128_009] if name == "suppress_tokens" else 128_009

    assert read("text-generation", {"inputs": "x", "parameters": {name: value}}).parameters == {name: value}
