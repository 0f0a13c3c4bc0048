"""``llmkit serve``, asked by the clients that people use, and by those that nobody wants."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy
import openai
import pytest

import llmkit as api
from tests.fixtures.command import TIMEOUT, Command
from tests.serving.serving import MESSAGES, Server

TEXTS = ["a fine day", "the worst of days", "word " * 40, "ü"]


@pytest.fixture(scope="module")
def server(models: dict[str, str]) -> Iterator[Server]:
    named = [f"{task}={folder}" for task, folder in models.items()]
    chat, encoder = f"chat={models['text-generation']}", f"embeddings={models['feature-extraction']}"
    with Server(*named, chat, encoder) as started:
        yield started


def post(server: Server, path: str, body: object, **options: object) -> httpx.Response:
    return server.client.post(path, json=body, **options)


# Tasks, as the hub answers them

REQUESTS = {
    "text-classification": {"inputs": "a fine day", "parameters": {"top_k": 2}},
    "token-classification": {"inputs": "Ada lived in London"},
    "fill-mask": {"inputs": "the ___ of the town", "parameters": {"top_k": 3}},
    "zero-shot-classification": {
        "inputs": "rates rose",
        "parameters": {"candidate_labels": ["money", "sports"]},
    },
    "question-answering": {"inputs": {"question": "Who?", "context": "Ada wrote it"}},
    "feature-extraction": {"inputs": "a fine day"},
    "text-generation": {"inputs": "the bank", "parameters": {"max_new_tokens": 5, "do_sample": False}},
    "summarization": {"inputs": "the bank raised its rates", "parameters": {"max_new_tokens": 5}},
}


@pytest.mark.parametrize("task", REQUESTS)
def test_a_task_gives_what_the_command_gives(server, models, llmkit: Command, task):
    body = REQUESTS[task]
    given = body["inputs"] if isinstance(body["inputs"], dict) else {"text": body["inputs"]}
    parameters = dict(body.get("parameters", {}))
    labels = parameters.pop("candidate_labels", None)
    row = given | ({} if labels is None else {"candidate_labels": labels})
    options = [each for name, value in parameters.items() for each in ("-p", f"{name}={json.dumps(value)}")]
    offline = llmkit("pipeline", task, "-m", models[task], *options, stdin=json.dumps(row) + "\n")
    assert offline.code == 0, offline.stderr

    found = post(server, f"/{task}", body)

    assert found.status_code == 200, found.text
    expected, answer = offline.lines[0], found.json()
    if task == "zero-shot-classification":
        pairs = zip(expected["labels"], expected["scores"], strict=True)
        expected = [{"label": label, "score": score} for label, score in pairs]
    if task in ("text-classification", "summarization"):
        answer = answer[0] if answer != [expected] else expected
    assert answer == expected or answer == [expected]


def test_a_list_of_inputs_gives_a_list_of_answers(server):
    several = post(server, "/text-classification", {"inputs": TEXTS}).json()
    alone = [post(server, "/text-classification", {"inputs": text}).json()[0] for text in TEXTS]

    assert [row[0]["label"] for row in several] == [row[0]["label"] for row in alone]
    assert numpy.allclose([row[0]["score"] for row in several], [row[0]["score"] for row in alone], atol=1e-6)


HUB_CLIENT = """
import sys
from huggingface_hub import InferenceClient

def client(task):
    return InferenceClient(model=f"{sys.argv[1]}/{task}", token="hf_any")

assert client("text-classification").text_classification("a fine day")[0].label
assert isinstance(client("token-classification").token_classification("Ada lived in London"), list)
assert len(client("fill-mask").fill_mask("the ___ of the town")) == 5
assert client("question-answering").question_answering(question="Who?", context="Ada wrote it").answer
assert client("feature-extraction").feature_extraction("a fine day").ndim == 3
assert client("summarization").summarization("the bank raised its rates").summary_text is not None
labels = ["money", "sports"]
found = client("zero-shot-classification").zero_shot_classification("rates rose", labels, multi_label=True)
assert {each.label for each in found} == set(labels)
assert client("text-generation").text_generation("the bank", max_new_tokens=3)
chat = client("").chat_completion([{"role": "user", "content": "the bank"}], max_tokens=3)
assert chat.choices[0].message.content is not None
"""


def test_the_hubs_own_client_is_satisfied(server):
    environment = os.environ | {"HF_HUB_OFFLINE": "0"}  # which it reads when it is imported
    command = [sys.executable, "-c", HUB_CLIENT, server.url]

    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )

    assert done.returncode == 0, done.stderr


def test_requests_at_once_get_each_its_own_answer(server):
    texts = [f"{'word ' * (number % 17)}number {number}" for number in range(96)]
    alone = {text: post(server, "/text-classification", {"inputs": text}).json()[0][0] for text in texts[:12]}

    with ThreadPoolExecutor(24) as pool:
        found = list(pool.map(lambda text: post(server, "/text-classification", {"inputs": text}), texts))

    assert {each.status_code for each in found} == {200}
    for text, answer in zip(texts, found, strict=True):
        if text in alone:
            assert answer.json()[0][0]["score"] == pytest.approx(alone[text]["score"], abs=1e-6)


# OpenAI's client


@pytest.fixture(scope="module")
def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


@pytest.mark.parametrize("encoding", ["float", "base64", openai.omit])
def test_embeddings(client, models, encoding):
    expected = api.embed(TEXTS, models["feature-extraction"], device="cpu")

    found = client.embeddings.create(model="any", input=TEXTS, encoding_format=encoding)

    vectors = [each.embedding for each in found.data]
    if encoding == "base64":
        import base64

        vectors = [numpy.frombuffer(base64.b64decode(each), "<f4") for each in vectors]
    assert numpy.allclose(vectors, expected, atol=1e-5)
    assert found.usage.prompt_tokens > len(TEXTS)


def test_shorter_embeddings_have_length_one(client):
    (found,) = client.embeddings.create(model="any", input="one", dimensions=4, encoding_format="float").data

    assert len(found.embedding) == 4
    assert numpy.linalg.norm(found.embedding) == pytest.approx(1, abs=1e-5)


def test_a_chat_is_answered_as_the_command_does(client, models, llmkit: Command):
    call = ("pipeline", "conversational", "-m", models["text-generation"])
    chat = json.dumps({"messages": MESSAGES}) + "\n"
    offline = llmkit(*call, "-p", "max_new_tokens=12", "-p", "do_sample=false", stdin=chat)

    found = client.chat.completions.create(model="any", messages=MESSAGES, max_tokens=12, temperature=0)

    assert found.choices[0].message.content == offline.lines[0]["messages"][-1]["content"]
    assert found.usage.completion_tokens <= 12
    assert found.choices[0].finish_reason in ("stop", "length")


def test_a_chat_streams(client):
    asked = {"model": "any", "messages": MESSAGES, "max_tokens": 12, "temperature": 0}
    whole = client.chat.completions.create(**asked)

    chunks = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.strip() == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert [each.choices[0].finish_reason for each in chunks if each.choices][-1] == whole.choices[
        0
    ].finish_reason


def test_a_chat_stops_where_it_is_told(client):
    asked = {"model": "any", "messages": MESSAGES, "max_tokens": 12, "temperature": 0}
    whole = client.chat.completions.create(**asked).choices[0].message.content
    middle = whole[len(whole) // 2 : len(whole) // 2 + 2]

    cut = client.chat.completions.create(**asked, stop=middle).choices[0]

    assert cut.message.content.strip() == whole[: whole.index(middle)].strip()
    assert cut.finish_reason == "stop"


def test_the_models_are_named(client):
    assert len(list(client.models.list())) == 2


# What is refused

BAD = {
    "no inputs": ("/text-classification", {}),
    "no object": ("/text-classification", [1]),
    "an empty text": ("/text-classification", {"inputs": " "}),
    "an empty list": ("/text-classification", {"inputs": []}),
    "null": ("/text-classification", {"inputs": None}),
    "another field": ("/text-classification", {"inputs": {"txt": "x"}}),
    "a wrong key": ("/text-classification", {"inputs": "x", "parameter": {"top_k": 1}}),
    "a stream": ("/text-generation", {"inputs": "x", "stream": True}),
    "a model": ("/text-classification", {"inputs": "x", "model": "acme/other"}),
    "a wrong parameter": ("/text-classification", {"inputs": "x", "parameters": {"topk": 1}}),
    "a parameter of another type": ("/text-classification", {"inputs": "x", "parameters": {"top_k": "many"}}),
    "no parameters": ("/text-classification", {"inputs": "x", "parameters": 3}),
    "a number too large": ("/text-generation", {"inputs": "x", "parameters": {"num_beams": 10**9}}),
    "code": ("/text-generation", {"inputs": "x", "parameters": {"custom_generate": "acme/evil"}}),
    "code within": (
        "/text-generation",
        {"inputs": "x", "parameters": {"tools": [{"trust_remote_code": True}]}},
    ),
    "no labels": ("/zero-shot-classification", {"inputs": "x"}),
    "no context": ("/question-answering", {"inputs": {"question": "x"}}),
    "no messages": ("/v1/chat/completions", {"messages": []}),
    "an image": (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": [{"image": "/etc/passwd"}]}]},
    ),
    "another form": (
        "/v1/chat/completions",
        {"messages": MESSAGES, "response_format": {"type": "json_object"}},
    ),
    "a stream in words": ("/v1/chat/completions", {"messages": MESSAGES, "stream": "yes"}),
    "almost no temperature": (
        "/text-generation",
        {"inputs": "x", "parameters": {"do_sample": True, "temperature": 1e-310}},
    ),
    "several answers": ("/v1/chat/completions", {"messages": MESSAGES, "n": 2}),
    "an odd format": ("/v1/embeddings", {"input": "x", "encoding_format": "hex"}),
    "tokens": ("/v1/embeddings", {"input": [[1, 2]]}),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_named(server, case):
    found = post(server, *BAD[case])

    assert found.status_code == 400, found.text
    assert found.json()["error"]["message"]
    assert "Traceback" not in found.text


def test_what_is_not_json_is_not_read(server):
    headers = {"Content-Type": "application/json"}
    assert server.client.post("/text-classification", content=b"{", headers=headers).status_code == 400
    assert (
        server.client.post("/text-classification", content=b'{"inputs": NaN}', headers=headers).status_code
        == 400
    )
    assert (
        server.client.post("/text-classification", content=b"[" * 100_000, headers=headers).status_code == 400
    )
    assert server.client.post("/text-classification", content=b'{"inputs": "x"}').status_code == 415


def test_a_key_that_is_there_twice_is_named(server):
    body = b'{"inputs": "hi", "inputs": "ho"}'

    found = server.client.post("/fill-mask", content=body, headers={"Content-Type": "application/json"})

    assert found.status_code == 400
    assert "'inputs' is there twice" in found.json()["error"]["message"]


def test_almost_no_temperature_is_none(server):
    asked = [{"messages": MESSAGES, "max_tokens": 5, "temperature": each} for each in (0, 1e-310)]

    first, second = (post(server, "/v1/chat/completions", each) for each in asked)

    assert (first.status_code, second.status_code) == (200, 200), second.text
    assert first.json()["choices"] == second.json()["choices"]


def test_half_a_character_is_none(server):
    """JSON can say what no text in UTF-8 can, and no tokenizer takes."""
    headers = {"Content-Type": "application/json"}
    for path, name in (("/text-classification", "inputs"), ("/v1/embeddings", "input")):
        half, whole = (b'{"%s": "%s"}' % (name.encode(), text) for text in (b"\\ud83d", b"\\ud83d\\ude00"))

        refused = server.client.post(path, content=half, headers=headers)

        assert refused.status_code == 400
        assert "surrogate" in refused.json()["error"]["message"]
        assert server.client.post(path, content=whole, headers=headers).status_code == 200


def test_a_request_of_many_inputs_lets_others_through(server):
    many = {"inputs": ["word " * 100] * 1024}
    with ThreadPoolExecutor(1) as pool:
        large = pool.submit(post, server, "/text-classification", many)
        while "llmkit_waiting_requests 0" in server.client.get("/metrics").text and not large.done():
            time.sleep(0.001)
        small = post(server, "/text-classification", {"inputs": "x"})
        was_done = large.done()
        answers = large.result(TIMEOUT).json()

    assert small.status_code == 200
    assert not was_done
    assert len(answers) == 1024
    assert len({json.dumps(answer) for answer in answers}) == 1


def test_other_paths_and_methods(server):
    assert post(server, "/summarisation", {}).status_code == 404
    assert server.client.get("/text-classification").status_code == 405


def test_a_request_that_is_too_long(server):
    assert post(server, "/text-classification", {"inputs": "x" * 2_000_000}).status_code == 413

    def parts() -> Iterator[bytes]:
        yield b'{"inputs": "'
        for _ in range(40):
            yield b"x" * 65536

    headers = {"Content-Type": "application/json"}
    assert server.client.post("/text-classification", content=parts(), headers=headers).status_code == 413


def test_what_it_says_of_itself(server):
    assert server.client.get("/health").json()["status"] == "ok"
    post(server, "/text-classification", {"inputs": "x"})
    figures = server.client.get("/metrics").text
    assert 'llmkit_requests_total{path="/text-classification",status="200"}' in figures
    assert 'le="+Inf"' in figures
    assert "/text-classification" in server.client.get("/openapi.json").json()["paths"]
    page = server.client.get("/docs").text
    assert "POST /text-classification" in page
    assert "src=" not in page  # nothing from elsewhere
