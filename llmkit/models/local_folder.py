"""A model in a local folder: which files it must have, and whether they are whole."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from llmkit.data.json_text import parse_json
from llmkit.errors import ModelError, did_you_mean, on_a_line
from llmkit.models.resolved import ResolvedModel

CONFIG_FILE = "config.json"
ADAPTER_FILE = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
WEIGHTS_FILE = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
PICKLED_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json")
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# Written beside the weights by a trainer; pickled, but not the model.
TRAINER_FILES = ("training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt", "scaler.pt")
ARCHIVE_ENDINGS = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
FILE_ENDINGS = (".gguf", ".safetensors", *ARCHIVE_ENDINGS)
OTHER_WEIGHT_SUFFIXES = (".safetensors", ".gguf", ".h5", ".msgpack", ".onnx", *PICKLE_SUFFIXES)
LARGEST_SAFETENSORS_HEADER = 100_000_000
_LAYERS_OF_ANY_MODEL, _LABELS_OF_ANY_MODEL, _MOST_NAMES = 1000, 1_000_000, 10
# What there is one module each of, in any family's words: n_layer, num_hidden_layers, encoder_layers, num_experts.
_COUNTS = re.compile(r"(n|num)_?(\w+_)?(layers?|blocks?|experts?)|(\w+_)?(layers|blocks|experts)")
_FILES_OF_MODEL = re.compile(
    r".+\.(safetensors|gguf|model|spm|codes|tiktoken|jinja|bin|pt|pth)|(.*config|.*\.index|modules|tokenizer|.*vocab"
    r"|added_tokens|special_tokens_map|chat_template)\.json|(vocab|merges)\.txt",
    re.IGNORECASE,
)
NO_PICKLES = "Nothing is unpickled unless --allow-pickle says so."


def is_path(name: str) -> bool:
    """Say whether `name` is the path of a folder or a file rather than the name of a hub model."""
    marked = name.startswith((".", "~", "/", os.sep)) or name.endswith(("/", os.sep))
    marked = marked or ("/" not in name and name.lower().endswith(FILE_ENDINGS))
    deep = name.count("/") > 1 or (os.sep != "/" and os.sep in name)
    # Path.exists raises for a name that is too long or may not be looked at; this says no.
    return marked or deep or os.path.exists(name)  # noqa: PTH110


def local_model(name: str, allow_pickle: bool, needs_weights: bool) -> ResolvedModel:
    """Return the model in the folder called `name`; of an adapter, where the adapter is.

    Without `needs_weights` a config alone is enough.

    Raises:
        ModelError: the folder is missing, may not be read, is damaged, or has pickled weights only.
    """
    return model_in(local_path(name), name, allow_pickle, needs_weights)


def model_in(folder: Path, name: str, allow_pickle: bool, needs_weights: bool) -> ResolvedModel:
    """Return the model in a folder, which is called `name` to the user; else as `local_model`."""
    try:
        check_folder(folder, name, allow_pickle, needs_weights)
    except PermissionError as error:
        raise ModelError(f"'{name}' may not be read: {error.filename}.") from error
    return ResolvedModel(name, str(folder), adapter=str(folder) if is_adapter_alone(folder) else None)


def is_of_model(file: Path) -> bool:
    """Tell by a file's name whether it makes a model what it is: weights, configs, what its tokenizer is read from."""
    return _FILES_OF_MODEL.fullmatch(file.name) is not None


def files_of_model(folder: Path) -> Iterator[list[Any]]:
    """Go through the files that make a model in a folder what it is: the name of each, its size and its time.

    The folders of its modules are looked into, those of a run's checkpoints are not.
    """
    for pattern in ("*", "[0-9]*_*/*"):
        for file in sorted(folder.glob(pattern)):
            if is_of_model(file) and file.is_file():
                state = file.stat()
                yield [str(file.relative_to(folder)), state.st_size, state.st_mtime_ns]


def local_path(name: str) -> Path:
    """Return the whole path of the folder or file called `name`.

    Raises:
        ModelError: there is none, or no library could open it, as its name is not UTF-8.
    """
    path = Path(os.path.expanduser(name)).absolute()  # noqa: PTH111 - Path.expanduser raises for an unknown user
    if not os.path.exists(path):  # noqa: PTH110
        kind = "file" if path.name.lower().endswith(FILE_ENDINGS) else "folder"
        raise ModelError(f"no {kind} {on_a_line(name)}.", hint=_nearest_sibling(path))
    for part in (path, *path.parents):
        try:
            part.name.encode()
        except UnicodeEncodeError:
            raise ModelError(
                f"the name of {part} is not UTF-8.", hint="Rename it: no library opens a model there."
            ) from None
    return path


def _nearest_sibling(missing: Path) -> str:
    while not missing.parent.is_dir():
        missing = missing.parent
    siblings = (
        [child.name for child in missing.parent.iterdir()] if os.access(missing.parent, os.R_OK) else []
    )
    near = did_you_mean(missing.name, siblings)
    return near or f"A model is a folder with {CONFIG_FILE} and {WEIGHTS_FILE}, or the name of a hub model."


def check_folder(folder: Path, name: str, allow_pickle: bool, needs_weights: bool) -> None:
    """Check that a folder has a config and whole weights, or an adapter, without reading the tensors.

    Raises:
        ModelError: it has not; the message calls the model `name`.
    """
    if is_adapter_alone(folder):
        read_object(folder / ADAPTER_FILE, name)
        if needs_weights:
            _check_adapter_weights(folder, name, allow_pickle)
        return
    config = read_object(folder / CONFIG_FILE, name, _where_the_config_is(folder))
    if needs_weights:
        _check_weights(folder, name, config, allow_pickle)


def is_adapter_alone(folder: Path) -> bool:
    """Tell whether a folder has an adapter (peft) and not the weights of the model that it is for."""
    own = (WEIGHTS_FILE, WEIGHTS_INDEX, *PICKLED_WEIGHTS)
    return (folder / ADAPTER_FILE).is_file() and not any((folder / file).is_file() for file in own)


def _check_adapter_weights(folder: Path, name: str, allow_pickle: bool) -> None:
    if (folder / ADAPTER_WEIGHTS).is_file():
        check_safetensors(folder / ADAPTER_WEIGHTS, name)
        return
    pickled = [file.name for file in folder.glob("adapter_model.bin")]
    if pickled:
        raise ModelError(
            f"the adapter '{name}' has only pickled weights ({pickled[0]}).",
            hint="Have them saved as safetensors: peft does so by itself today.",
        )
    raise no_weights(f"the adapter '{name}'", [ADAPTER_WEIGHTS])


def _where_the_config_is(folder: Path) -> str:
    # A folder of checkpoints, or a repository's folder in the hub's cache: the model lies further in.
    nested = sorted([*folder.glob(f"*/{CONFIG_FILE}"), *folder.glob(f"snapshots/*/{CONFIG_FILE}")])
    if nested:
        return f"Name the folder inside: {nested[-1].parent}"
    return f"A model folder has {CONFIG_FILE} and {WEIGHTS_FILE}, as save_pretrained writes them."


def read_object(path: Path, name: str, hint: str | None = None) -> dict[str, Any]:
    """Return the object in a JSON file of the model called `name`.

    Raises:
        ModelError: the file is missing, cannot be read, or holds something else.
    """
    if not path.is_file():
        raise ModelError(f"'{name}' has no {path.name}.", hint=hint)
    try:
        value = parse_json(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path.name} of '{name}' cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ModelError(f"{path.name} of '{name}' is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path.name} of '{name}' is not a JSON object, but a {type(value).__name__}.")
    return value


def _check_weights(folder: Path, name: str, config: dict[str, Any], allow_pickle: bool) -> None:
    said_by_config = config.get("transformers_weights")
    for candidate in (said_by_config, WEIGHTS_FILE, WEIGHTS_INDEX):
        if isinstance(candidate, str) and is_file_inside(folder, candidate, name):
            tensors = sum(check_safetensors(file, name) for file in weight_files(folder / candidate, name))
            check_counts(config, tensors, name)
            return
    if not (allow_pickle and any((folder / file).is_file() for file in PICKLED_WEIGHTS)):
        raise _unusable_weights(folder, name, allow_pickle)


def is_file_inside(folder: Path, file: str, name: str) -> bool:
    """Tell whether a file that a model's own files name is there.

    Raises:
        ModelError: it would lie outside of the folder of the model `name`.
    """
    if Path(file).is_absolute() or ".." in Path(file).parts:
        raise ModelError(f"'{name}' names a file outside of its folder: {file}.", hint="It is not read.")
    return os.path.isfile(folder / file)  # noqa: PTH113 - Path.is_file raises for a name that is too long


def some_of(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def check_counts(config: dict[str, Any], tensors: int, name: str) -> None:
    """Refuse a config of more layers than its weights can be for: they would be built before anything is compared.

    Raises:
        ModelError: it has such a number.
    """
    most = max(_LAYERS_OF_ANY_MODEL, tensors)
    for key, value in config.items():
        if isinstance(value, dict):
            check_counts(value, tensors, name)
        elif key == "num_labels" and isinstance(value, int) and value > _LABELS_OF_ANY_MODEL:
            raise ModelError(f"{CONFIG_FILE} of '{name}' says {key}: {value:,}: no model has so many.")
        elif _COUNTS.fullmatch(key) and isinstance(value, int) and value > most:
            raise ModelError(
                f"{CONFIG_FILE} of '{name}' says {key}: {value:,}, and its weights have {tensors:,} tensors."
            )


def weight_files(weights: Path, name: str) -> list[Path]:
    """Return the files that hold the weights: one, or those that an index names.

    Raises:
        ModelError: the index is damaged, or one is missing.
    """
    if weights.suffix != ".json":
        return [weights]
    weight_map = read_object(weights, name).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{weights.name} of '{name}' names no weights: 'weight_map' is missing.")
    shards = sorted({str(shard) for shard in weight_map.values()})
    missing = [shard for shard in shards if not is_file_inside(weights.parent, shard, name)]
    if missing:
        raise ModelError(
            f"'{name}' lacks {len(missing)} of the {len(shards)} files that {weights.name} names.",
            hint=f"Copy or download them again: {some_of(missing)}",
        )
    return [weights.parent / shard for shard in shards]


def _unusable_weights(folder: Path, name: str, allow_pickle: bool) -> ModelError:
    looked_for = (WEIGHTS_FILE, WEIGHTS_INDEX, *(PICKLED_WEIGHTS if allow_pickle else ()))
    names = sorted(path.name for path in folder.iterdir() if path.name not in TRAINER_FILES)
    pickled = [file for file in names if file.endswith(PICKLE_SUFFIXES) and not file.startswith("rng_state")]
    if pickled and not allow_pickle:
        return only_pickles(f"'{name}'", pickled)
    return no_weights(
        f"'{name}'", looked_for, [file for file in names if file.endswith(OTHER_WEIGHT_SUFFIXES)]
    )


def only_pickles(model: str, files: Sequence[str]) -> ModelError:
    """Return the error for a model whose weights would have to be unpickled."""
    return ModelError(
        f"{model} has only pickled weights ({', '.join(files)}). {NO_PICKLES}",
        hint="Pass --allow-pickle if you trust where they come from, or have them saved as safetensors.",
    )


def no_weights(model: str, looked_for: Sequence[str], found: Sequence[str] = ()) -> ModelError:
    """Return the error for a model without weights that can be loaded."""
    there = f" Found: {', '.join(found)}." if found else ""
    return ModelError(f"{model} has no weights.", hint=f"Looked for {', '.join(looked_for)}.{there}")


def check_safetensors(file: Path, name: str) -> int:
    """Compare the size of a safetensors file with what its header promises, without reading the tensors.

    Returns:
        How many tensors it has.

    Raises:
        ModelError: the file of the model `name` is cut off, or is no safetensors file.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        header_size = int.from_bytes(start, "little")
        if start == b"version ":
            raise ModelError(
                f"{file.name} of '{name}' is a git-lfs pointer, not the weights.",
                hint="Fetch them: git lfs pull",
            )
        if size >= 8 and header_size > LARGEST_SAFETENSORS_HEADER:
            raise _damaged(file, name, "is not a safetensors file")
        if size < 8 + header_size:
            raise _damaged(
                file, name, f"is cut off: at least {max(8, 8 + header_size) - size} bytes are missing"
            )
        header = stream.read(header_size)
    try:
        ends = [
            tensor["data_offsets"][1] for key, tensor in parse_json(header).items() if key != "__metadata__"
        ]
        promised = 8 + header_size + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise _damaged(file, name, "has a damaged header") from error
    if size < promised:
        raise _damaged(file, name, f"is cut off: {promised - size} of {promised} bytes are missing")
    if size > promised:
        raise _damaged(file, name, f"is damaged: it has {size - promised} bytes more than its header names")
    return len(ends)


def header_of(file: Path) -> dict[str, Any]:
    """Return the header of a safetensors file that was checked."""
    with file.open("rb") as stream:
        header: dict[str, Any] = parse_json(stream.read(int.from_bytes(stream.read(8), "little")))
    return header


def _damaged(file: Path, name: str, what: str) -> ModelError:
    return ModelError(f"{file.name} of '{name}' {what}.", hint=f"Copy or download it again: {file}")
