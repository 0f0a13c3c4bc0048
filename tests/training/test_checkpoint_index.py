"""The index of shards: what torch writes is read as torch reads it, and a pickle that would act does nothing."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import BytesStorageMetadata

from llmkit.errors import ModelError
from llmkit.training.checkpoint_index import INDEX, index_reader, read_index


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tensors = {
        "model.a": torch.arange(6.0).reshape(2, 3),
        "optimizer.step.a": torch.tensor(2.0, dtype=torch.bfloat16),
    }
    dcp.save(tensors, checkpoint_id=tmp_path / "shards")
    return tmp_path / "shards"


def test_it_is_what_torch_reads(folder: Path) -> None:
    there = dcp.FileSystemReader(folder).read_metadata()
    found = read_index(folder)
    assert found.state_dict_metadata == there.state_dict_metadata
    assert found.storage_data == there.storage_data


def test_the_tensors_come_back(folder: Path) -> None:
    tensors = {"model.a": torch.zeros(2, 3), "optimizer.step.a": torch.zeros((), dtype=torch.bfloat16)}
    dcp.load(tensors, storage_reader=index_reader(folder))
    assert torch.equal(tensors["model.a"], torch.arange(6.0).reshape(2, 3))
    assert tensors["optimizer.step.a"] == 2


class Evil:
    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("what", ["builtins.exec", "posix.system", "torch.load", "builtins.getattr"])
def test_what_it_names_is_not_called(folder: Path, what: str) -> None:
    module, _, name = what.rpartition(".")
    called = getattr(__import__(module), name)
    mark = folder / "pwned"
    (folder / INDEX).write_bytes(pickle.dumps(Evil(called, f"open({str(mark)!r}, 'w')")))
    with pytest.raises(ModelError, match=rf"names .*{name}, which no index of a checkpoint does"):
        read_index(folder)
    assert not mark.exists()


def test_what_is_no_tensor_is_not_read(folder: Path) -> None:
    metadata = read_index(folder)
    metadata.state_dict_metadata["model.a"] = BytesStorageMetadata()
    (folder / INDEX).write_bytes(pickle.dumps(metadata))
    with pytest.raises(ModelError, match="BytesStorageMetadata"):
        read_index(folder)


def test_a_file_elsewhere_is_not_read(folder: Path) -> None:
    metadata = read_index(folder)
    for info in metadata.storage_data.values():
        info.relative_path = f"../{info.relative_path}"
    (folder / INDEX).write_bytes(pickle.dumps(metadata))
    with pytest.raises(ModelError, match="no index of shards beside it"):
        read_index(folder)


@pytest.mark.parametrize("content", [b"", b"text", b"\x80\x04N.", b"\x80\x05", pickle.dumps({"a": 1})])
def test_a_damaged_one(folder: Path, content: bytes) -> None:
    (folder / INDEX).write_bytes(content)
    with pytest.raises(ModelError, match=r"is damaged|is no index"):
        read_index(folder)
