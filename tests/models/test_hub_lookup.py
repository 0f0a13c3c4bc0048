"""The cache and the hub, with a small hub behind the real client."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.hub import LoginPage, ServerError, Slow, SmallHub, dead_url
from tests.models.files import REPO, TASK, fill_cache, write_safetensors

NO_HUB = "http://hub.invalid"


def test_hub_model_costs_two_requests(hub, resolve, folder):
    hub.add(REPO, folder)
    found = resolve(hub.url, name=REPO)
    assert (found["name"], found["location"], found["revision"]) == (REPO, REPO, None)
    assert not found["is_local"]
    asked = [(seen.method, seen.path.rpartition("/")[2]) for seen in hub.requests]
    assert asked == [("HEAD", "config.json"), ("HEAD", "model.safetensors")]


def test_default_and_its_revision(hub, resolve, folder):
    hub.add(REPO, folder, commit="714eb0f")
    found = resolve(hub.url, default=[REPO, "714eb0f"], stand_in="", task=TASK)
    assert (found["location"], found["revision"], found["note"]) == (REPO, "714eb0f", None)
    assert hub.count(f"/{REPO}/resolve/714eb0f/config.json") == 1


def test_own_revision_of_the_default(hub, resolve, folder):
    hub.add(REPO, folder)
    hub.tag(REPO, "v2")
    assert resolve(hub.url, default=[REPO, "714eb0f"], revision="v2")["revision"] == "v2"


def test_cached_model_needs_no_hub(hub, resolve, folder, tmp_path):
    hub.add(REPO, folder)
    fill_cache(hub, tmp_path, "config.json", "model.safetensors")
    found = resolve(hub.url, name=REPO)
    assert (found["location"], found["cached_only"], found["note"]) == (REPO, False, None)
    assert [request.method for request in hub.requests] == ["HEAD"]
    assert resolve(hub.url, {"HF_HUB_OFFLINE": "1"}, name=REPO)["location"] == REPO
    assert len(hub.requests) == 1
    hub.stop()
    found = resolve(hub.url, default=[REPO, None], stand_in="")
    assert (found["location"], found["embedded"], found["cached_only"]) == (REPO, False, True)
    assert f"using the cached '{REPO}'" in found["note"] and "cannot be reached" in found["note"]


def test_cached_commit_is_found_by_its_beginning(hub, resolve, folder, tmp_path):
    commit = hub.add(REPO, folder, commit="714eb0f")
    fill_cache(hub, tmp_path, "config.json", "model.safetensors")
    found = resolve(hub.url, {"HF_HUB_OFFLINE": "1"}, default=[REPO, "714eb0f"], stand_in="")
    assert (found["location"], found["revision"]) == (REPO, commit)


def test_cache_of_another_revision_does_not_serve(hub, resolve, folder, tmp_path):
    hub.add(REPO, folder)
    fill_cache(hub, tmp_path, "config.json")
    found = resolve(hub.url, {"HF_HUB_OFFLINE": "1"}, name=REPO, revision="v2")
    assert "'acme/tiny-bert' at revision 'v2' is not in the cache" in found["message"]


def test_offline_makes_no_request(hub, resolve, folder):
    hub.add(REPO, folder)
    found = resolve(hub.url, {"HF_HUB_OFFLINE": "1"}, name=REPO)
    assert found["message"] == (
        f"the model '{REPO}' is not in the cache and HF_HUB_OFFLINE is set: config.json is missing."
    )
    assert hub.requests == []


def test_dead_hub_names_the_ways_on(resolve):
    url = dead_url()
    found = resolve(url, name=REPO, task=TASK)
    assert found["error"] == "HubUnreachableError"
    for part in (REPO, url, "cannot be reached", "Connection refused", "config.json is missing"):
        assert part in found["message"]
    for way in (
        "Name a local folder",
        "HF_ENDPOINT",
        "HF_HOME",
        "pip install 'hf-llmkit[offline]'",
        "llmkit tasks",
    ):
        assert way in found["hint"]


def test_unreachable_hub_is_asked_once(hub, resolve, folder):
    hub.add(REPO, folder)
    hub.faults.append(Slow(seconds=5.0))
    found = resolve(hub.url, {"HF_HUB_ETAG_TIMEOUT": "1"}, name=REPO)
    assert f"the hub {hub.url} did not answer in 1 s" in found["message"]
    assert len(hub.requests) == 1


@pytest.mark.parametrize("status", [500, 503, 504, 429])
def test_hub_in_trouble_is_asked_once(hub, resolve, folder, status):
    hub.add(REPO, folder)
    hub.faults.append(ServerError(status=status))
    found = resolve(hub.url, name=REPO)
    assert found["error"] == "HubUnreachableError"
    assert f"({status}): config.json is missing" in found["message"]
    assert len(hub.requests) == 1


def test_login_page_is_no_hub(hub, resolve, folder):
    hub.add(REPO, folder)
    hub.faults.append(LoginPage())
    assert "does not answer like a hub" in resolve(hub.url, name=REPO)["message"]


def test_address_without_a_hub(hub, resolve, folder):
    hub.add(REPO, folder)
    assert "does not answer like a hub" in resolve(f"{hub.url}/mirror/of/models", name=REPO)["message"]


def test_wrong_endpoint_is_a_usage_error(resolve):
    for endpoint in ("localhost:8080", "ftp://hub", "http://", "http://hub:port"):
        found = resolve(endpoint, name=REPO)
        assert (found["error"], endpoint.rstrip("/") in found["message"]) == ("UsageError", True)


def test_name_server_that_fails(resolve):
    found = resolve(NO_HUB, name=REPO)
    assert found["error"] == "HubUnreachableError" and NO_HUB in found["message"]


@pytest.mark.parametrize(
    ("repo", "token", "message"),
    [
        ("acme/none", None, "has no model 'acme/none', or it is private"),
        ("acme/none", SmallHub.token, "has no model 'acme/none', or it is private"),
        ("acme/private", None, "has no model 'acme/private', or it is private"),
        ("acme/private", SmallHub.stranger, "has no model 'acme/private', or it is private"),
        ("acme/gated", None, "'acme/gated' is gated"),
        ("acme/gated", SmallHub.stranger, "'acme/gated' is gated"),
        ("acme/open", "hf_forgedforgedforged", "does not accept the token"),
        ("acme/open", "hf_forged\u20acforged", "characters that no token has"),
    ],
)
def test_closed_doors_name_the_token_but_never_show_it(hub, resolve, folder, repo, token, message):
    hub.add("acme/open", folder)
    hub.add("acme/private", folder, private=True)
    hub.add("acme/gated", folder, gated=True)
    found = resolve(hub.url, {"HF_TOKEN": token or ""}, name=repo)
    assert found["error"] == "HubError"
    assert message in found["message"]
    assert "HF_TOKEN" in found["hint"] and "hf auth login" in found["hint"]
    assert token is None or token not in found["message"] + found["hint"]


def test_token_opens_the_door(hub, resolve, folder):
    hub.add("acme/gated", folder, gated=True)
    assert resolve(hub.url, {"HF_TOKEN": hub.token}, name="acme/gated")["location"] == "acme/gated"


def test_unknown_revision(hub, resolve, folder):
    hub.add(REPO, folder)
    found = resolve(hub.url, name=REPO, revision="v9")
    assert found["message"] == f"the model '{REPO}' has no revision 'v9'."


def test_repository_without_a_config(hub, resolve, folder):
    (folder / "config.json").unlink()
    hub.add(REPO, folder)
    found = resolve(hub.url, name=REPO)
    assert found["message"] == f"the model '{REPO}' has no config.json on the hub {hub.url}."


@pytest.fixture
def pickled(hub, folder, tmp_path):
    """A model whose weights are cached as a pickle, which is all that there is."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    hub.add(REPO, folder)
    fill_cache(hub, tmp_path, "config.json", "pytorch_model.bin")


def test_cached_pickle_serves_where_it_may(hub, resolve, pickled):
    call = {"default": [REPO, None], "stand_in": "", "task": TASK, "settings": {"HF_HUB_OFFLINE": "1"}}
    found = resolve(hub.url, allow_pickle=True, **call)
    assert (found["location"], found["embedded"], found["note"]) == (REPO, False, None)
    note = resolve(hub.url, **call)["note"]
    assert f"'{REPO}' is in the cache with pickled weights, which only --allow-pickle opens" in note
    assert "using the embedded" in note and "not in the cache" not in note
    hub.stop()
    assert resolve(hub.url, allow_pickle=True, **{**call, "settings": {}})["cached_only"]


@pytest.fixture
def adapter(hub, folder, tmp_path):
    """An adapter on the hub, on a model there."""
    hub.add("acme/base", folder)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "acme/base"}')
    write_safetensors(adapter / "adapter_model.safetensors")
    hub.add("acme/adapter", adapter)
    return adapter


def test_adapter_on_the_hub(hub, resolve, adapter, tmp_path):
    found = resolve(hub.url, name="acme/adapter")
    assert (found["name"], found["location"], found["note"]) == ("acme/adapter", "acme/base", None)
    files = {file.name for file in Path(found["adapter"]).iterdir()}
    assert files == {"adapter_config.json", "adapter_model.safetensors"}
    fill_cache(hub, tmp_path, "config.json", "model.safetensors", repo="acme/base")
    assert resolve(hub.url, {"HF_HUB_OFFLINE": "1"}, name="acme/adapter") == found
    hub.stop()
    silent = resolve(hub.url, name="acme/adapter")
    assert silent["cached_only"] and "using the cached 'acme/adapter'" in silent["note"]


def test_adapter_on_the_hub_whose_base_is_not_cached(hub, resolve, adapter, tmp_path):
    fill_cache(hub, tmp_path, "adapter_config.json", "adapter_model.safetensors", repo="acme/adapter")
    found = resolve(hub.url, {"HF_HUB_OFFLINE": "1"}, name="acme/adapter")
    assert "'acme/adapter' is for the model 'acme/base'" in found["message"]
    assert "'acme/base' is not in the cache" in found["message"]


def test_adapter_on_the_hub_that_is_for_itself(hub, resolve, adapter):
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "acme/adapter"}')
    hub.add("acme/adapter", adapter)
    assert "is for another adapter" in resolve(hub.url, name="acme/adapter")["message"]
