"""A server's own OpenAPI description, tried out by schemathesis: no request ends in a 500."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from tests.serving.serving import Server, answer_validators

pytestmark = pytest.mark.slow

TASKS = (
    "text-classification",
    "fill-mask",
    "question-answering",
    "zero-shot-classification",
    "text-generation",
    "image-classification",
    "visual-question-answering",
    "automatic-speech-recognition",
    "text-to-audio",
)


@pytest.fixture(scope="module")
def server(tiny: Callable[[str], Path]) -> Iterator[Server]:
    named = [f"{task}={tiny(task)}" for task in TASKS]
    others = [f"embeddings={tiny('feature-extraction')}", f"chat={tiny('text-generation')}"]
    with Server(*named, *others, "--timeout", "30") as started:
        yield started


def test_no_request_breaks_it(server: Server) -> None:
    description = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operations = [found.ok() for found in description.get_all_operations()]
    assert len(operations) == len(TASKS) + 5
    described = dict(answer_validators(server.client.get("/openapi.json").json()))
    assert {f"/{task}" for task in TASKS} <= set(described)

    for operation, mode in product(operations, schemathesis.GenerationMode):
        if operation.method.lower() == "get" and mode is schemathesis.GenerationMode.NEGATIVE:
            continue  # it has nothing that could be wrong

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
        def check(case: Any) -> None:
            answer = case.call()
            assert answer.status_code < 500 or answer.status_code == 504, answer.text
            if answer.status_code >= 400:
                assert answer.json()["error"]["message"]
            elif case.operation.path in described and "json" in answer.headers["content-type"][0]:
                assert not list(described[case.operation.path].iter_errors(answer.json()))

        check()
