"""A server's own OpenAPI description, tried out by schemathesis: no request ends in a 500."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from tests.serving.serving import Server

pytestmark = pytest.mark.slow

TASKS = (
    "text-classification",
    "fill-mask",
    "question-answering",
    "zero-shot-classification",
    "text-generation",
)


@pytest.fixture(scope="module")
def server(tiny: Callable[[str], Path]) -> Iterator[Server]:
    named = [f"{task}={tiny(task)}" for task in TASKS]
    others = [f"embeddings={tiny('feature-extraction')}", f"chat={tiny('text-generation')}"]
    with Server(*named, *others, "--timeout", "30") as started:
        yield started


@pytest.fixture
def api(server: Server) -> object:
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_breaks_it(case, server: Server) -> None:
    answer = case.call()

    assert answer.status_code < 500 or answer.status_code == 504, answer.text
    if answer.status_code >= 400:
        assert answer.json()["error"]["message"]
