"""A model that is named by one file: weights beside their config, a GGUF file, or an archive of a model."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from llmkit.errors import MissingExtraError, ModelError
from llmkit.models.archives import is_archive, unpacked
from llmkit.models.gguf_files import GGUF_FILES, is_gguf
from llmkit.models.local_folder import (
    ADAPTER_FILE,
    ADAPTER_WEIGHTS,
    CONFIG_FILE,
    PICKLED_WEIGHTS,
    WEIGHTS_FILE,
    WEIGHTS_INDEX,
    check_counts,
    check_safetensors,
    local_path,
    model_in,
    read_object,
)
from llmkit.models.resolved import ResolvedModel


def local_file_or_folder(name: str, allow_pickle: bool, needs_weights: bool) -> ResolvedModel:
    """Return the model that a path stands for: a folder, one file of weights, or an archive.

    Raises:
        ModelError: there is nothing, or it is damaged, or it is no model.
        MissingExtraError: a GGUF file needs a package that is not installed.
    """
    return _model_at(local_path(name), name, allow_pickle, needs_weights)


def _model_at(path: Path, name: str, allow_pickle: bool, needs_weights: bool) -> ResolvedModel:
    if path.is_dir():
        return model_in(path, name, allow_pickle, needs_weights)
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
        raise MissingExtraError(f"reading '{name}'", "gguf")
    return ResolvedModel(name, str(path.parent), weights=path.name)


def _safetensors(path: Path, name: str, allow_pickle: bool) -> ResolvedModel:
    folder = path.parent
    if path.name in (WEIGHTS_FILE, ADAPTER_WEIGHTS):
        found = model_in(folder, str(folder), allow_pickle, True)
        return ResolvedModel(name, found.location, adapter=found.adapter)
    hint = f"It belongs beside the weights: {folder / CONFIG_FILE}"
    config = read_object(folder / CONFIG_FILE, name, hint)
    check_counts(config, check_safetensors(path, name), name)
    return ResolvedModel(name, str(folder), weights=path.name)


def _archive(path: Path, name: str, allow_pickle: bool, needs_weights: bool) -> ResolvedModel:
    folder = unpacked(path, name)
    found = _only_model_in(folder, name)
    called = name if found == folder else f"{name}/{found.relative_to(folder).as_posix()}"
    with _called(folder, name):
        return replace(_model_at(found, called, allow_pickle, needs_weights), name=name)


@contextmanager
def _called(folder: Path, name: str) -> Iterator[None]:
    """Have what a hint says of a file name the archive, not the folder of the cache that has its files now."""
    try:
        yield
    except ModelError as error:
        error.hint = error.hint and error.hint.replace(str(folder), name)
        raise


def _only_model_in(folder: Path, name: str) -> Path:
    """Return the folder or the file that is the one model of an archive."""
    found_in = {file.parent for mark in _MARKS for file in folder.rglob(mark)}
    # What lies inside a model is a part of it: sentence-transformers' modules, the checkpoints of a run.
    places = sorted(place for place in found_in if found_in.isdisjoint(place.parents))
    files = _files(folder.rglob(GGUF_FILES))
    if len(places) == 1:
        return _only_weights_in(places[0]) or places[0]
    if len(files) == 1 and not places:
        return files[0]
    inside = [str(place.relative_to(folder)) for place in (*places, *files)]
    if not inside:
        raise ModelError(f"there is no model in '{name}': no {CONFIG_FILE} and no .gguf file.")
    raise ModelError(
        f"there are {len(inside)} models in '{name}': {', '.join(inside[:5])}.",
        hint="Unpack it, and name one of them.",
    )


def _only_weights_in(folder: Path) -> Path | None:
    """Return the one file of weights beside a config, where none has the name that a model's weights have."""
    if not (folder / CONFIG_FILE).is_file() or any((folder / file).is_file() for file in _NAMES_OF_WEIGHTS):
        return None
    files = _files([*folder.glob(GGUF_FILES), *folder.glob("*.safetensors")])
    return files[0] if len(files) == 1 else None


def _files(found: Iterable[Path]) -> list[Path]:
    # A Mac packs a ._NAME beside each NAME, with what it knows of the file.
    return sorted(file for file in found if file.is_file() and not file.name.startswith("._"))


_MARKS = (CONFIG_FILE, ADAPTER_FILE)
_NAMES_OF_WEIGHTS = (WEIGHTS_FILE, WEIGHTS_INDEX, ADAPTER_WEIGHTS, *PICKLED_WEIGHTS)
