"""The index of a sharded checkpoint, which torch writes as a pickle, read without letting it make what it likes.

Unpickling calls what a file names. Here a file may name the classes that say where tensors lie, and nothing else.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from llmkit.errors import ModelError

INDEX = ".metadata"
_METADATA = "torch.distributed.checkpoint.metadata"
_CLASSES = {
    _METADATA: (
        "Metadata",
        "TensorStorageMetadata",
        "TensorProperties",
        "ChunkStorageMetadata",
        "MetadataIndex",
        "StorageMeta",
        "_MEM_FORMAT_ENCODING",
    ),
    "torch.distributed.checkpoint.filesystem": ("_StorageInfo",),
    "torch": ("Size",),
    "torch.serialization": ("_get_layout",),
    "pathlib": ("PosixPath", "WindowsPath"),
    "pathlib._local": ("PosixPath", "WindowsPath"),
}


def index_reader(folder: Path) -> Any:
    """Return torch's reader of a checkpoint's shards, with an index that was read so.

    Raises:
        ModelError: when the index is read, it names something else, or files outside of the folder.
    """
    from torch.distributed.checkpoint import FileSystemReader
    from torch.distributed.checkpoint.metadata import StorageMeta

    class Reader(FileSystemReader):
        def read_metadata(self, *arguments: Any, **more: Any) -> Any:
            metadata = read_index(folder)
            metadata.storage_meta = getattr(metadata, "storage_meta", None) or StorageMeta()
            metadata.storage_meta.load_id = self.load_id
            return metadata

    return Reader(folder)


def read_index(folder: Path) -> Any:
    """Return the `torch.distributed.checkpoint.metadata.Metadata` of a checkpoint.

    Raises:
        ModelError: the index is damaged, or names what no index does.
    """
    from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

    path = folder / INDEX
    try:
        with path.open("rb") as file:
            metadata = _IndexUnpickler(file).load()
    except _NamedError as error:
        raise ModelError(
            f"{path} names {error}, which no index of a checkpoint does.",
            hint="Nothing of it was made. Begin anew, or go on from a checkpoint of your own.",
        ) from None
    except Exception as error:  # a pickle that is damaged ends in any of them
        raise ModelError(f"{path} is damaged: {str(error) or type(error).__name__}.") from error
    stored: dict[Any, Any] = getattr(metadata, "storage_data", None) or {}
    # The shards lie beside the index, each a file; their content is taken for tensors and nothing else.
    is_whole = isinstance(metadata, Metadata) and all(
        isinstance(each, TensorStorageMetadata) for each in metadata.state_dict_metadata.values()
    )
    if not is_whole or any(Path(info.relative_path).name != info.relative_path for info in stored.values()):
        raise ModelError(f"{path} is no index of shards beside it.")
    return metadata


class _NamedError(Exception):
    """A pickle names something that it may not."""


class _IndexUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        import torch

        if name in _CLASSES.get(module, ()):
            return super().find_class(module, name)
        found = getattr(torch, name, None) if module == "torch" and name.isidentifier() else None
        if isinstance(found, torch.dtype):
            return found
        raise _NamedError(f"{module}.{name}")
