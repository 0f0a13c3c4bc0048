"""Who gets to see a page that is served here."""

from __future__ import annotations

import pytest

pytest.importorskip("gradio", reason="the extra demo is not installed")

from starlette.testclient import TestClient

from llmkit.sharing.demo.local import local_app
from llmkit.sharing.demo.page import page_of
from tests.sharing.demo.asking import demo_of


def test_a_visitor_must_say_the_password(tiny):
    page = page_of(demo_of("text-classification", tiny("text-classification")))
    app = local_app(page, host="127.0.0.1", port=7860, auth=("me", "secret"))
    with TestClient(app) as visitor:
        assert visitor.get("/config").status_code == 401
        assert visitor.post("/gradio_api/call/answer", json={"data": ["a text", ""]}).status_code == 401
        wrong = visitor.post("/login", data={"username": "me", "password": "wrong"})
        assert wrong.status_code == 400
        assert visitor.post("/login", data={"username": "me", "password": "secret"}).status_code == 200
        assert visitor.get("/config").status_code == 200
