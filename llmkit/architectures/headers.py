"""The headers of safetensors files: every tensor's name, dtype and shape, read without a byte of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.data.json_text import parse_json
from llmkit.errors import HubError, ModelError, on_a_line
from llmkit.models.local_folder import (
    WEIGHTS_FILE,
    WEIGHTS_INDEX,
    check_safetensors,
    weight_files,
)

if TYPE_CHECKING:
    from llmkit.models.resolved import ResolvedModel

WAYS_ON = (
    "Name a checkpoint that is here (--checkpoint-file PATH), or point HF_ENDPOINT at another hub or HF_HOME "
    "at a filled cache."
)
ADAPTER_WEIGHTS = "adapter_model.safetensors"
# Bits a number, by the names of the format.
DTYPE_BITS: Mapping[str, int] = {
    "F64": 64, "I64": 64, "U64": 64, "C64": 64,
    "F32": 32, "I32": 32, "U32": 32,
    "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I8": 8, "U8": 8, "BOOL": 8,
    "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor of a checkpoint."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """How many bytes these take."""
        return -(-self.size * DTYPE_BITS[self.dtype] // 8)


@dataclass(frozen=True, slots=True)
class Headers:
    """What the headers of a checkpoint say.

    Attributes:
        place: what messages call it.
        files: the names of its files.
        tensors: by name.
        is_adapter: it holds the adapters of a model, not a model.
    """

    place: str
    files: tuple[str, ...]
    tensors: Mapping[str, Stored] = field(default_factory=dict)
    is_adapter: bool = False


def read_headers(location: str, revision: str | None = None) -> Headers:
    """Read the headers of the checkpoint at a path (a file, an index, a folder) or of a model on the hub.

    Of a remote file a few ranges are asked for: its header, never the weights.

    Raises:
        ModelError: no safetensors there, a part missing, a header that is damaged.
        HubError: the hub does not give them.
    """
    path = Path(location).expanduser()
    if path.is_dir():
        return _read_files(_files_in(path, location), location)
    if path.is_file():
        return _read_files(weight_files(path, location), location)
    from llmkit.models.local_folder import is_path

    if is_path(location) or location.endswith((".safetensors", ".json")):
        raise ModelError(f"no file or folder {on_a_line(location)}.")
    try:
        return _read_from_hub(location, revision)
    except HubError as error:
        from llmkit.models import hub_lookup

        if error.hint:  # those who load a model are told of options that are not for headers
            error.hint = error.hint.replace(hub_lookup.WAYS_ON, WAYS_ON)
        raise


def _files_in(folder: Path, name: str) -> list[Path]:
    for single in (WEIGHTS_FILE, ADAPTER_WEIGHTS):
        if (folder / single).is_file():
            return [folder / single]
        if single == WEIGHTS_FILE and (folder / WEIGHTS_INDEX).is_file():
            return weight_files(folder / WEIGHTS_INDEX, name)
    others = sorted(folder.glob("*.safetensors"))
    if others:
        return others
    found = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".gguf", ".h5"))
    raise ModelError(
        f"'{name}' has no safetensors weights" + (f", but {', '.join(found)}." if found else "."),
        hint="Only the headers of safetensors files are read; nothing is unpickled.",
    )


def _read_files(files: list[Path], name: str) -> Headers:
    tensors: dict[str, Stored] = {}
    for file in files:
        if file.suffix != ".safetensors":
            raise ModelError(
                f"{file.name} is no safetensors file.",
                hint="Only the headers of safetensors files are read; nothing is unpickled.",
            )
        tensors |= _read_file(file, name)
    is_adapter = any(file.name == ADAPTER_WEIGHTS for file in files) or _looks_adapted(tensors)
    return Headers(name, tuple(file.name for file in files), tensors, is_adapter)


def _read_file(file: Path, name: str) -> dict[str, Stored]:
    try:
        check_safetensors(file, name)
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = parse_json(stream.read(size))
    except OSError as error:
        raise ModelError(f"{file.name} of '{name}' cannot be read: {error.strerror or error}.") from error
    return {key: _stored(value, file.name, name) for key, value in header.items() if key != "__metadata__"}


def _stored(value: Any, file: str, name: str) -> Stored:
    dtype, shape = value.get("dtype"), value.get("shape")
    is_shape = isinstance(shape, list) and all(type(each) is int and each >= 0 for each in shape)
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS or not is_shape:
        raise ModelError(f"{file} of '{name}' has a damaged header: dtype {dtype!r}, shape {shape!r}.")
    stored = Stored(dtype, tuple(shape))
    place = value.get("data_offsets", [0, stored.bytes])  # of a remote file nobody gives them
    if [type(each) for each in place] != [int, int] or place[1] - place[0] != stored.bytes:
        raise ModelError(
            f"{file} of '{name}' has a damaged header: dtype {dtype!r} and shape {shape!r} at {place!r}."
        )
    return stored


def _looks_adapted(tensors: Mapping[str, Stored]) -> bool:
    return bool(tensors) and all(".lora_" in name or name.startswith("base_model.model.") for name in tensors)


def _read_from_hub(hub_id: str, revision: str | None) -> Headers:
    from huggingface_hub import constants

    from llmkit.models.hub_lookup import cached_file
    from llmkit.models.resolving import resolve_model

    model = resolve_model(hub_id, revision=revision, needs_weights=False, on_base=False)
    if not (constants.HF_HUB_OFFLINE or model.cached_only):
        return _ask_for_headers(model)
    for file in (WEIGHTS_FILE, WEIGHTS_INDEX):
        found = cached_file(model, file)
        if isinstance(found, str):
            return _read_files(weight_files(Path(found), hub_id), hub_id)
    from llmkit.models.hub_lookup import HubUnreachableError

    raise HubUnreachableError(model, WEIGHTS_FILE, "no hub is asked")


def _ask_for_headers(model: ResolvedModel) -> Headers:
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    from llmkit.models.hub_errors import explain_hub_failure, is_a

    disable_progress_bars()
    try:
        found = HfApi().get_safetensors_metadata(model.location, revision=model.revision)
    except Exception as error:
        if is_a(error, "NotASafetensorsRepoError"):
            raise ModelError(
                f"the model {model} has no {WEIGHTS_FILE} on the hub.",
                hint="Only the headers of safetensors files are read; nothing is unpickled.",
            ) from error
        if is_a(error, "SafetensorsParsingError") or isinstance(error, ValueError | KeyError):
            raise ModelError(f"the weights of {model} on the hub have a damaged header.") from error
        raise explain_hub_failure(error, model, WEIGHTS_FILE) from error
    tensors = {
        name: _stored({"dtype": info.dtype, "shape": list(info.shape)}, file, model.name)
        for file, metadata in found.files_metadata.items()
        for name, info in metadata.tensors.items()
    }
    return Headers(model.name, tuple(sorted(found.files_metadata)), tensors, _looks_adapted(tensors))
