"""The headers of safetensors files, local and on the hub."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from llmkit.architectures.headers import Stored, read_headers
from llmkit.errors import ModelError
from tests.fixtures.hub import SmallHub, client_environment, dead_url

TENSORS = {"a.weight": torch.zeros(2, 3), "b": torch.zeros(4, dtype=torch.bfloat16)}
STORED = {"a.weight": Stored("F32", (2, 3)), "b": Stored("BF16", (4,))}


@pytest.fixture
def folder(tmp_path):
    save_file(TENSORS, tmp_path / "model.safetensors")
    return tmp_path


def test_a_file_and_a_folder(folder):
    for place in (folder, folder / "model.safetensors"):
        headers = read_headers(str(place))
        assert headers.tensors == STORED
        assert headers.files == ("model.safetensors",)
        assert not headers.is_adapter


def write_shards(folder, **shards):
    for name, tensors in shards.items():
        save_file(tensors, folder / f"{name}.safetensors")
    index = {
        "weight_map": {key: f"{name}.safetensors" for name, tensors in shards.items() for key in tensors}
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_shards(tmp_path):
    write_shards(tmp_path, one={"a.weight": TENSORS["a.weight"]}, two={"b": TENSORS["b"]})
    assert read_headers(str(tmp_path)).tensors == STORED
    (tmp_path / "two.safetensors").unlink()
    with pytest.raises(ModelError, match="lacks 1 of the 2"):
        read_headers(str(tmp_path))


def test_an_adapter(tmp_path):
    save_file({"base_model.model.q.lora_A.weight": torch.zeros(2, 3)}, tmp_path / "adapter_model.safetensors")
    assert read_headers(str(tmp_path)).is_adapter


def with_header(header: object, size: int = 8) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(size)


ODD = {"a": {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}}
NEGATIVE = {"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        b"\xff" * 64,
        with_header([1]),
        with_header(ODD),
        with_header(NEGATIVE),
        with_header({"a": 5}),
        with_header({"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 0]}}),
        with_header({"a": {"dtype": "F32", "shape": [1000], "data_offsets": [0, 0]}}),
        with_header({"a": {"dtype": "F32", "shape": [0], "data_offsets": ["0", 0]}}),
        (10_000).to_bytes(8, "little") + b"[" * 10_000,
    ],
)
def test_a_damaged_header_is_one_error(content, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError) as raised:
        read_headers(str(tmp_path))
    assert "model.safetensors" in raised.value.message


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"weight_map": 5}', "names no weights"),
        ("{}", "names no weights"),
    ],
)
def test_a_damaged_index_is_one_error(index, said, tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelError, match=said):
        read_headers(str(tmp_path))


def test_an_index_that_cannot_be_read_is_one_error(tmp_path):
    # There, and no byte of it to be had.
    (tmp_path / "model.safetensors.index.json").symlink_to("/proc/self/mem")
    with pytest.raises(ModelError, match=r"index\.json of .* cannot be read: "):
        read_headers(str(tmp_path))


def test_what_is_no_safetensors(tmp_path):
    (tmp_path / "pytorch_model.bin").touch()
    for place, said in (
        (tmp_path, "but pytorch_model.bin"),
        (tmp_path / "pytorch_model.bin", "no safetensors"),
    ):
        with pytest.raises(ModelError, match=said):
            read_headers(str(place))
    with pytest.raises(ModelError, match="no file or folder"):
        read_headers(str(tmp_path / "nothing"))


READ = """
import json, sys
from llmkit.errors import LlmkitError
from llmkit.architectures.headers import read_headers
try:
    headers = read_headers(sys.argv[1])
    result = {name: [tensor.dtype, tensor.shape] for name, tensor in headers.tensors.items()}
except LlmkitError as error:
    result = {"code": error.exit_code, "said": str(error)}
print(json.dumps(result))
"""


def read_on(url, home, name="acme/tiny", **settings):
    environment = {**os.environ, **client_environment(url, home), **settings}
    done = subprocess.run([sys.executable, "-c", READ, name], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_of_a_remote_file_only_a_range_is_asked_for(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"a": torch.zeros(100_000)}, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    with SmallHub() as hub:
        hub.add("acme/tiny", folder)
        assert read_on(hub.url, tmp_path / "home") == {"a": ["F32", [100_000]]}
        fetched = [each for each in hub.requests if each.method == "GET" and "safetensors" in each.path]
        assert fetched and all(each.range == "bytes=0-100000" for each in fetched)


def test_of_a_remote_index_the_header_of_each_shard(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    write_shards(folder, one={"a.weight": TENSORS["a.weight"]}, two={"b": TENSORS["b"]})
    (folder / "config.json").write_text("{}")
    with SmallHub() as hub:
        hub.add("acme/tiny", folder)
        assert read_on(hub.url, tmp_path / "home") == {"a.weight": ["F32", [2, 3]], "b": ["BF16", [4]]}


def test_a_remote_model_without_or_with_damaged_headers(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    with SmallHub() as hub:
        hub.add("acme/none", folder)
        (folder / "model.safetensors").write_bytes(b"abc" * 50)
        hub.add("acme/damaged", folder)
        assert "has no model.safetensors" in read_on(hub.url, tmp_path / "home", "acme/none")["said"]
        assert "damaged header" in read_on(hub.url, tmp_path / "home", "acme/damaged")["said"]


def test_a_hub_that_is_not_there(tmp_path):
    for settings in ({}, {"HF_HUB_OFFLINE": "1"}):
        assert read_on(dead_url(), tmp_path / "home", **settings)["code"] == 1
