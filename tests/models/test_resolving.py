"""Names, defaults, and the embedded encoder that stands in for them."""

from __future__ import annotations

import importlib.util

import pytest

from llmkit.errors import MissingExtraError, UsageError
from llmkit.models.embedded import embedded_folder
from llmkit.models.resolving import resolve_model
from tests.fixtures.hub import Barred, LoginPage, ServerError, Slow, dead_url
from tests.models.files import REPO, TASK, fill_cache

# Names


@pytest.mark.parametrize(
    "name", ["", " ", "a--b", "-bert", "bert base", "x" * 100, "x" * 5000, "a\0b", "acme/tiny.git"]
)
def test_what_cannot_be_a_name_is_a_usage_error(name):
    with pytest.raises(UsageError):
        resolve_model(name)


def test_an_address_is_no_name_but_holds_one():
    with pytest.raises(UsageError) as caught:
        resolve_model("https://huggingface.co/acme/films/tree/main")
    assert (caught.value.message, caught.value.hint) == (
        "https://huggingface.co/acme/films/tree/main is an address.",
        "Name a hub model by OWNER/NAME: acme/films",
    )


def test_no_model_and_no_default():
    with pytest.raises(UsageError, match="--model is needed for image-to-image"):
        resolve_model(None, task="image-to-image")


def test_wrong_setting(monkeypatch):
    monkeypatch.setenv("LLMKIT_EMBEDDED", "sometimes")
    with pytest.raises(UsageError, match="LLMKIT_EMBEDDED is 'sometimes'"):
        resolve_model(None, default=(REPO, None), task=TASK)


# The embedded encoder


def test_embedded_by_name(hub, resolve):
    found = resolve(hub.url, name="minilm")
    assert found == {
        "name": "minilm",
        "location": str(embedded_folder()),
        "revision": None,
        "embedded": True,
        "note": None,
        "cached_only": False,
        "weights_revision": None,
        "adapter": None,
        "weights": None,
        "is_local": True,
    }
    assert hub.requests == []


def test_embedded_by_name_needs_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="the embedded encoder 'minilm'"):
        resolve_model("minilm")


def test_embedded_has_no_revision():
    with pytest.raises(UsageError, match="--revision"):
        resolve_model("minilm", revision="main")


def test_default_falls_back_with_a_note(resolve):
    url = dead_url()
    found = resolve(url, default=[REPO, "714eb0f"], stand_in="", task=TASK)
    assert found["embedded"] and found["name"] == "minilm"
    assert found["note"].startswith(
        f"the model '{REPO}' at revision '714eb0f' is not in the cache and the hub {url}"
    )
    assert found["note"].endswith(
        ", using the embedded all-MiniLM-L6-v2 (its mean vectors: Spearman 82.0 on the test pairs of STS-B) instead"
    )
    assert "\n" not in found["note"]


@pytest.mark.parametrize("fault", [ServerError(status=503), LoginPage(), Slow(seconds=1.0)])
def test_default_falls_back_from_a_hub_that_does_not_answer(hub, resolve, tmp_path, folder, fault):
    hub.add(REPO, folder)
    hub.faults.append(fault)
    call = {"default": [REPO, None], "stand_in": "", "settings": {"HF_HUB_ETAG_TIMEOUT": "1"}}
    if isinstance(fault, Slow):
        fault.seconds = 5.0
    assert resolve(hub.url, **call)["embedded"]
    assert len(hub.requests) == 1


@pytest.mark.parametrize(
    "fault",
    [Slow(seconds=5.0, path="*.safetensors", method="GET"), Slow(seconds=5.0, path="*.safetensors")],
)
def test_default_falls_back_where_the_weights_do_not_come(hub, resolve, folder, fault):
    hub.add(REPO, folder)
    hub.faults.append(fault)
    call = {"default": [REPO, None], "stand_in": "", "settings": {"HF_HUB_ETAG_TIMEOUT": "1"}}
    found = resolve(hub.url, **call)
    assert found["embedded"] and f"the hub {hub.url} did not answer in 1 s" in found["note"]
    assert [request.method for request in hub.requests] == ["HEAD", "GET"]
    assert resolve(hub.url, **call | {"stand_in": None})["location"] == REPO


def test_default_that_the_hub_gives_is_taken(hub, resolve, folder):
    hub.add(REPO, folder)
    found = resolve(hub.url, default=[REPO, None], stand_in="")
    assert (found["location"], found["note"]) == (REPO, None)
    assert [request.range for request in hub.requests if request.method == "GET"] == ["bytes=0-0"]


@pytest.mark.parametrize("status", [401, 403, 407, 451])
def test_default_falls_back_where_a_proxy_bars_the_way(hub, resolve, folder, status):
    hub.add(REPO, folder)
    hub.faults.append(Barred(status=status))
    found = resolve(hub.url, default=[REPO, None], stand_in="")
    assert found["embedded"] and f"({status}), using the embedded" in found["note"]
    named = resolve(hub.url, name=REPO)
    assert (
        named["error"] == "HubUnreachableError" and f"({status}): config.json is missing" in named["message"]
    )
    assert "Name a local folder" in named["hint"]


def test_default_offline_asks_nobody(hub, resolve, folder):
    hub.add(REPO, folder)
    found = resolve(hub.url, {"HF_HUB_OFFLINE": "1"}, default=[REPO, None], stand_in="")
    assert found["embedded"] and "HF_HUB_OFFLINE is set" in found["note"]
    assert hub.requests == []


def test_default_with_only_its_config_cached_falls_back(hub, resolve, folder, tmp_path):
    hub.add(REPO, folder)
    fill_cache(hub, tmp_path, "config.json")
    hub.stop()
    call = {"default": [REPO, None]}
    assert resolve(hub.url, stand_in="", **call)["embedded"]
    assert resolve(hub.url, **call)["location"] == REPO


@pytest.mark.parametrize(
    "call",
    [
        {"default": [REPO, None], "stand_in": None},
        {"default": [REPO, None], "stand_in": "", "settings": {"LLMKIT_EMBEDDED": "never"}},
        {"default": [REPO, None], "stand_in": "", "revision": "v1"},
        {"name": REPO, "stand_in": ""},
        {"name": REPO, "stand_in": "", "settings": {"LLMKIT_EMBEDDED": "always"}},
    ],
)
def test_no_fallback(resolve, call):
    assert resolve(dead_url(), task=TASK, **call)["error"] == "HubUnreachableError"


def test_unknown_default_is_an_error_not_a_fallback(hub, resolve):
    found = resolve(hub.url, default=[REPO, None], stand_in="")
    assert (found["error"], len(hub.requests)) == ("HubError", 1)


def test_always_embedded_asks_nobody(hub, resolve, folder):
    hub.add(REPO, folder)
    settings = {"LLMKIT_EMBEDDED": "always"}
    call = {"settings": settings, "default": [REPO, None]}
    assert resolve(hub.url, stand_in="", **call)["embedded"]
    assert hub.requests == []
    found = resolve(hub.url, stand_in=None, task="summarization", **call)
    assert (found["location"], found["note"]) == (REPO, "there is no embedded model for summarization.")
