"""What a name stands for: the catalogue, a path, a type, the hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from llmkit.architectures.naming import name_model
from llmkit.errors import DataError, UsageError
from tests.fixtures.hub import ServerError, SmallHub, client_environment, dead_url


def write_config(folder, **values):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", **values}))
    return folder


def test_a_name_of_the_catalogue_in_any_case():
    named = name_model("BERT-Large")
    assert named.origin == "catalogue"
    assert named.values["hidden_size"] == 1024
    assert named.entry is not None
    assert named.location == named.entry.hub_id


@pytest.mark.parametrize("name", ["gpt-4", "gemini-1.0-ultra"])
def test_a_model_that_was_never_published_says_what_is_known(name):
    with pytest.raises(UsageError) as raised:
        name_model(name)
    assert "https://" in str(raised.value)
    assert len(raised.value.message) > 60


def test_a_folder_a_file_and_a_type(tmp_path, monkeypatch):
    folder = write_config(tmp_path / "mine", hidden_size=8)
    assert name_model(str(folder)).values == {"model_type": "bert", "hidden_size": 8}
    assert name_model(str(folder / "config.json")).label == "mine"
    monkeypatch.chdir(folder)
    assert name_model(".").label == "mine"
    assert name_model(None, model_type="bert").values == {"model_type": "bert"}


def test_a_folder_whose_name_is_no_text_has_a_label_that_can_be_written(tmp_path):
    folder = tmp_path / os.fsdecode(b"odd\xff")
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    assert name_model(str(folder)).label == "odd\N{REPLACEMENT CHARACTER}"


def test_a_folder_with_a_config_wins_over_the_catalogue_and_says_so(tmp_path, monkeypatch):
    write_config(tmp_path / "gpt2", hidden_size=8)
    (tmp_path / "t5-base").mkdir()
    monkeypatch.chdir(tmp_path)
    named = name_model("gpt2")
    assert named.values["hidden_size"] == 8
    assert "not the catalogue's" in named.notes[0]
    assert name_model("t5-base").origin == "catalogue"


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        ({"name": None}, UsageError, "name a model"),
        ({"name": "x", "model_type": "bert"}, UsageError, "--type"),
        ({"name": None, "model_type": "bert", "revision": "v1"}, UsageError, "--revision"),
        ({"name": " "}, UsageError, "empty"),
        ({"name": "a b"}, UsageError, "no model of the catalogue"),
        ({"name": "x" * 5000}, UsageError, "no model of the catalogue"),
        ({"name": "./nothing/here"}, DataError, "no file or folder"),
        ({"name": "bad/nosuch.json"}, DataError, "no file or folder bad/nosuch.json"),
        ({"name": "nosuch.json"}, DataError, "no file or folder"),
    ],
)
def test_what_cannot_be_one(call, error, said):
    with pytest.raises(error, match=said):
        name_model(**call)


def test_a_revision_is_the_hubs(tmp_path):
    with pytest.raises(UsageError, match="--revision"):
        name_model(str(write_config(tmp_path)), revision="main")


NAME = """
import json, sys
from llmkit.errors import LlmkitError
from llmkit.architectures.naming import name_model
name, revision = json.loads(sys.argv[1])
try:
    named = name_model(name, revision=revision)
    result = {"values": dict(named.values), "origin": named.origin, "revision": named.revision}
except LlmkitError as error:
    result = {"code": error.exit_code, "said": str(error)}
result["heavy"] = [each for each in ("torch", "transformers") if each in sys.modules]
print(json.dumps(result))
"""


@pytest.fixture
def hub():
    with SmallHub() as hub:
        yield hub


@pytest.fixture
def name_on(tmp_path):
    """Name a model in a process of its own, whose hub is at an address."""

    def name_on(url, name, revision=None, **settings):
        environment = {**os.environ, **client_environment(url, tmp_path / "home"), **settings}
        call = json.dumps([name, revision])
        done = subprocess.run(
            [sys.executable, "-c", NAME, call], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result.pop("heavy") == []
        return result

    return name_on


class TestHub:
    def test_only_the_config_is_fetched(self, hub, name_on, tmp_path):
        folder = write_config(tmp_path / "model", hidden_size=8)
        (folder / "model.safetensors").write_bytes(bytes(1000))
        hub.add("acme/tiny", folder)
        found = name_on(hub.url, "acme/tiny")
        assert found["values"]["hidden_size"] == 8
        assert found["origin"] == "hub"
        assert hub.count("*safetensors*") == 0

    def test_at_a_revision(self, hub, name_on, tmp_path):
        hub.add("acme/tiny", write_config(tmp_path / "old", hidden_size=4), "old")
        hub.add("acme/tiny", write_config(tmp_path / "new", hidden_size=8), "main")
        assert name_on(hub.url, "acme/tiny", "old")["values"]["hidden_size"] == 4
        assert name_on(hub.url, "acme/tiny", "none")["code"] == 1

    def test_a_name_of_the_catalogue_asks_nobody(self, hub, name_on):
        assert name_on(hub.url, "bert-base")["origin"] == "catalogue"
        assert hub.requests == []

    def test_a_name_that_nobody_knows(self, hub, name_on):
        found = name_on(hub.url, "bert-bsae")
        assert found["code"] == 2
        assert "bert-base" in found["said"]

    def test_a_repository_that_is_not_there(self, hub, name_on):
        assert name_on(hub.url, "acme/none")["code"] == 1

    def test_an_adapter_names_its_base(self, hub, name_on, tmp_path):
        (tmp_path / "adapter").mkdir()
        adapter = {"base_model_name_or_path": "acme/base", "r": 4, "target_modules": ["q"]}
        (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(adapter))
        hub.add("acme/adapter", tmp_path / "adapter")
        found = name_on(hub.url, "acme/adapter")
        assert found["code"] == 2
        assert "llmkit params acme/base --lora r=4,targets=q" in found["said"]

    def test_a_slip_of_the_keys_needs_no_hub_to_be_one(self, name_on):
        found = name_on(dead_url(), "bert-larg")
        assert found["code"] == 2
        assert found["said"].startswith("the catalogue has no 'bert-larg'; did you mean bert-large?")
        assert "HF_ENDPOINT" not in found["said"]

    def test_a_hub_that_is_down_still_gives_the_nearest(self, name_on):
        for name in ("my-own-bert-base", "acme/bert-bsae"):  # they may as well be other models
            found = name_on(dead_url(), name)
            assert found["code"] == 1
            assert "bert-base" in found["said"]
            assert "HF_ENDPOINT" in found["said"]

    def test_a_hub_in_trouble(self, hub, name_on, tmp_path):
        hub.add("acme/tiny", write_config(tmp_path / "model"))
        hub.faults.append(ServerError(status=503))
        found = name_on(hub.url, "acme/tiny", HF_HUB_ETAG_TIMEOUT="1")
        assert found["code"] == 1
        assert "HF_ENDPOINT" in found["said"]

    def test_offline_a_bare_name_is_a_wrong_name_and_an_owners_is_not_cached(self, hub, name_on):
        assert name_on(hub.url, "bert-bsae", HF_HUB_OFFLINE="1")["code"] == 2
        found = name_on(hub.url, "acme/tiny", HF_HUB_OFFLINE="1")
        assert found["code"] == 1
        assert "HF_HUB_OFFLINE is set" in found["said"]
