"""A model that is named by one file: weights beside their config, a GGUF file, or an archive of a model."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from llmkit.errors import MissingExtraError, ModelError
from llmkit.models.archives import is_archive, unpacked
from llmkit.models.gguf_files import is_gguf
from llmkit.models.local_folder import (
    ADAPTER_WEIGHTS,
    CONFIG_FILE,
    WEIGHTS_FILE,
    check_safetensors,
    local_model,
    local_path,
    read_object,
)
from llmkit.models.resolved import ResolvedModel


def local_file_or_folder(name: str, allow_pickle: bool, needs_weights: bool) -> ResolvedModel:
    """Return the model that a path stands for: a folder, one file of weights, or an archive.

    Raises:
        ModelError: there is nothing, or it is damaged, or it is no model.
        MissingExtraError: a GGUF file needs a package that is not installed.
    """
    path = local_path(name)
    if path.is_dir():
        return local_model(name, allow_pickle, needs_weights)
    if path.suffix.lower() == ".gguf":
        return _gguf(path, name)
    if path.suffix == ".safetensors":
        return _safetensors(path, name, allow_pickle)
    if is_archive(path):
        return _archive(path, name, allow_pickle, needs_weights)
    raise ModelError(
        f"'{name}' is a file, of no kind that a model comes in.",
        hint=f"A model is a folder with {CONFIG_FILE} and {WEIGHTS_FILE}, a .safetensors file beside its "
        f"{CONFIG_FILE}, a .gguf file, or a .zip or .tar(.gz|.xz|.bz2) of one of these.",
    )


def _gguf(path: Path, name: str) -> ResolvedModel:
    if not is_gguf(path):
        raise ModelError(f"'{name}' is not a GGUF file: it does not begin with GGUF.")
    if importlib.util.find_spec("gguf") is None:
        raise MissingExtraError(f"Reading '{name}'", "gguf")
    return ResolvedModel(name, str(path.parent), weights=path.name)


def _safetensors(path: Path, name: str, allow_pickle: bool) -> ResolvedModel:
    folder = path.parent
    if path.name in (WEIGHTS_FILE, ADAPTER_WEIGHTS):
        found = local_model(str(folder), allow_pickle, True)
        return ResolvedModel(name, found.location, adapter=found.adapter)
    read_object(folder / CONFIG_FILE, name, f"It belongs beside the weights: {folder / CONFIG_FILE}")
    check_safetensors(path, name)
    return ResolvedModel(name, str(folder), weights=path.name)


def _archive(path: Path, name: str, allow_pickle: bool, needs_weights: bool) -> ResolvedModel:
    folder = unpacked(path, name)
    found_in = {file.parent for pattern in _MARKS for file in folder.rglob(pattern)}
    # What lies inside a model is a part of it: sentence-transformers' modules, the checkpoints of a run.
    places = sorted(place for place in found_in if found_in.isdisjoint(place.parents))
    files = sorted(folder.rglob("*.gguf"))
    if len(places) == 1:
        found = local_model(str(places[0]), allow_pickle, needs_weights)
        return ResolvedModel(name, found.location, adapter=found.adapter)
    if len(files) == 1 and not places:
        return _gguf(files[0], name)
    inside = [str(place.relative_to(folder)) for place in (*places, *files)]
    if not inside:
        raise ModelError(f"There is no model in '{name}': no {CONFIG_FILE} and no .gguf file.")
    raise ModelError(
        f"There are {len(inside)} models in '{name}': {', '.join(inside[:5])}.",
        hint="Unpack it, and name one of them.",
    )


_MARKS = (CONFIG_FILE, "adapter_config.json")
