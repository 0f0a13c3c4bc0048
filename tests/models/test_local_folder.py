"""A model in a local folder: what passes, what is refused, and in what words."""

from __future__ import annotations

import json
import re
import shutil
import struct
from pathlib import Path

import pytest

from llmkit.errors import ModelError, UsageError
from llmkit.models.resolved import ResolvedModel
from llmkit.models.resolving import resolve_model
from tests.fixtures.tiny import build
from tests.models.files import TASK, write_safetensors


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
    with pytest.raises(ModelError, match=f"no folder {re.escape(str(name))}") as raised:
        resolve_model(name)
    assert hint in raised.value.hint


def test_file_of_no_kind_is_no_model(folder):
    with pytest.raises(ModelError, match="is a file, of no kind that a model comes in") as raised:
        resolve_model(str(folder / "config.json"))
    assert ".gguf" in raised.value.hint


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


def test_adapter_without_weights(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"has no weights") as raised:
        resolve_model(str(tmp_path))
    assert "adapter_model.safetensors" in raised.value.hint


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


@pytest.mark.parametrize("file", ["../model.safetensors", "/etc/passwd", "a/../../b"])
def test_an_index_names_no_file_outside_of_its_folder(folder, file):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"weight": file}}))
    with pytest.raises(ModelError, match="names a file outside of its folder"):
        resolve_model(str(folder))


@pytest.mark.parametrize("key", ["num_hidden_layers", "n_layer", "encoder_layers", "num_local_experts"])
@pytest.mark.parametrize("within", [False, True])
def test_more_layers_than_the_weights_can_be_for(folder, key, within):
    config = json.loads((folder / "config.json").read_text())
    config |= {"text_config": {key: 10**9}} if within else {key: 10**9}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=rf"says {key}: 1,000,000,000, and its weights have 1 tensors"):
        resolve_model(str(folder))
