"""`llmkit models` and `llmkit models prepare`: what is here, and filling a folder for a machine without a hub."""

from __future__ import annotations

import shutil

import pytest

from tests.fixtures.hub import SmallHub, client_environment, dead_url

DEFAULT = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"


@pytest.fixture
def hub(tiny):
    with SmallHub() as hub:
        hub.add(DEFAULT, tiny("text-classification"), commit="714eb0f")
        hub.add("acme/other", tiny("fill-mask"))
        yield hub


def rows(llmkit, env):
    done = llmkit("models", "--format", "jsonl", env=env, hub=True)
    assert (done.code, done.stderr) == (0, "")
    return {row["model"]: row for row in done.lines}


def test_what_is_here(llmkit, hub, tiny, tmp_path):
    home = tmp_path / "home"
    env = hub.environment(home) | {"LLMKIT_CACHE": str(tmp_path / "cache")}
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", tiny("text-classification"))
    call = ("pipeline", "text-classification", "a good film", "-m")
    assert llmkit(*call, "acme/other", env=env, hub=True).code == 1  # no head: but it is cached now
    assert llmkit(*call, archive, env=env, hub=True).code == 0

    found = rows(llmkit, env)

    assert found["minilm"]["origin"] == "embedded" and found["minilm"]["bytes"] > 80_000_000
    served = {"feature-extraction", "zero-shot-classification", "sentence-similarity"}
    assert set(found["minilm"]["tasks"]) == served
    cached = found["acme/other"]
    assert (cached["origin"], cached["tasks"], cached["complete"]) == ("hub cache", ["fill-mask"], True)
    assert found[archive]["origin"] == "archive" and "text-classification" in found[archive]["tasks"]
    assert found[archive]["complete"]


@pytest.mark.parametrize("command", ["models", "warm"])
def test_options_before_a_subcommand(llmkit, command, tmp_path):
    env = {
        "LLMKIT_CACHE": str(tmp_path / "cache"),
        "HF_HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path),
    }
    refused = llmkit(command, "--format", "json", "list", env=env)
    assert (refused.code, refused.text) == (2, "")
    assert "--format is an option of what follows: it goes after 'list'" in refused.stderr


def test_quiet_before_a_subcommand_holds_for_it(llmkit, tmp_path):
    env = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert llmkit("warm", "stop", env=env).stderr == "there are none.\n"
    assert llmkit("warm", "--quiet", "stop", env=env).stderr == ""


def test_an_archive_without_a_model_is_none(llmkit, tiny, tmp_path):
    env = {"LLMKIT_CACHE": str(tmp_path / "cache"), "HF_HOME": str(tmp_path / "home")}
    for name, file in (("notes", "notes.txt"), ("config", "config.json")):
        (tmp_path / name).mkdir()
        shutil.copy(tiny("text-classification") / "config.json", tmp_path / name / file)
        archive = shutil.make_archive(str(tmp_path / name), "zip", tmp_path / name)
        assert llmkit("pipeline", "text-classification", "a film", "-m", archive, env=env).code == 1
    found = rows(llmkit, env)
    assert str(tmp_path / "notes.zip") not in found
    assert not found[str(tmp_path / "config.zip")]["complete"]


def test_a_cached_model_that_lacks_a_file_is_told(llmkit, hub, tmp_path):
    env = hub.environment(tmp_path / "home")
    call = ("models", "prepare", "acme/other", "sentiment-analysis", "--to", tmp_path / "home")
    assert llmkit(*call, env=env, hub=True).code == 0
    [weights] = (tmp_path / "home/hub/models--acme--other").glob("snapshots/*/model.safetensors")
    weights.resolve().unlink()

    done = llmkit("models", "--format", "jsonl", env=env, hub=True)

    assert done.code == 0 and DEFAULT in {row["model"] for row in done.lines}
    [warning] = done.stderr.splitlines()
    assert warning.startswith("warning: a model in the hub's cache is not listed")
    assert "models--acme--other" in warning


def test_a_folder_is_filled_for_a_machine_without_a_hub(llmkit, hub, tmp_path):
    to = tmp_path / "models"
    done = llmkit(
        "models", "prepare", "sentiment-analysis", "acme/other", "--to", to, "-f", "jsonl",
        env=hub.environment(tmp_path / "home"), hub=True,
    )  # fmt: skip
    assert done.code == 0, done.stderr
    first, second = done.lines
    assert (first["task"], first["model"]) == ("sentiment-analysis", DEFAULT)
    assert (second["task"], second["model"]) == (None, "acme/other")
    assert f"HF_HOME={to}" in done.stderr
    hub.requests.clear()

    env = client_environment(hub.url, to) | {"HF_HUB_OFFLINE": "1"}
    alone = llmkit("pipeline", "sentiment-analysis", "a good film", env=env, hub=True)

    assert (alone.code, alone.stderr, len(alone.lines)) == (0, "", 1)
    assert hub.requests == []
    assert rows(llmkit, env)[DEFAULT]["complete"]


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (("sentiment-analyses",), "did you mean sentiment-analysis", 2),
        (("acme/gone",), "acme/gone", 1),
    ],
)
def test_what_cannot_be_prepared(llmkit, hub, tmp_path, arguments, says, code):
    done = llmkit(
        "models", "prepare", *arguments, "--to", tmp_path / "to", env=hub.environment(tmp_path), hub=True
    )
    assert done.code == code
    assert says in done.stderr and "Traceback" not in done.stderr


def test_a_hub_that_is_not_there(llmkit, tmp_path):
    call = ("models", "prepare", "sentiment-analysis", "--to", tmp_path / "to")
    url = dead_url()
    done = llmkit(*call, env=client_environment(url, tmp_path), hub=True)
    assert (done.code, done.stdout) == (1, b"") and url in done.stderr
    done = llmkit(*call, env=client_environment(url, tmp_path) | {"HF_HUB_OFFLINE": "1"}, hub=True)
    assert done.code == 1 and "HF_HUB_OFFLINE is set" in done.stderr
