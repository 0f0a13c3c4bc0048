"""Reading a config.json, and saying in one message what is wrong with one that cannot be used."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmkit.data.small_files import read_small
from llmkit.errors import DataError, did_you_mean, on_a_line
from llmkit.models.local_folder import ADAPTER_FILE, CONFIG_FILE

# A config is a few kilobytes; more than this is another kind of file.
LARGEST_CONFIG = 32 * 1024 * 1024
WHAT_IS_ONE = f"A model is described by the {CONFIG_FILE} that save_pretrained writes."


def read_config(path: Path, name: str) -> dict[str, Any]:
    """Return what a config.json holds.

    Args:
        name: what messages call it: the path as it was typed, or the hub's model.

    Raises:
        DataError: it cannot be read, is not JSON (with line and column), is not an object, or has a number of
            thousands of digits.
    """
    return _object_of(_content_of(path, name), name)


def read_standard_input() -> dict[str, Any]:
    """Return what a config on standard input holds, be it a pipe, a file or a socket.

    Raises:
        DataError: it is closed, or as of `read_config`.
    """
    if sys.stdin is None:
        raise DataError("standard input is closed.", hint=WHAT_IS_ONE)
    try:
        content = sys.stdin.buffer.read(LARGEST_CONFIG + 1)
    except OSError as error:
        raise DataError(f"standard input cannot be read: {error.strerror or error}.") from error
    return _object_of(content, "standard input")


def _object_of(content: bytes, name: str) -> dict[str, Any]:
    text = _text_of(content, name)
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise DataError(f"{name} is not JSON: {where}: {error.msg}.", hint=WHAT_IS_ONE) from error
    except RecursionError as error:
        raise DataError(f"{name} is nested too deeply to be a config.", hint=WHAT_IS_ONE) from error
    except ValueError as error:  # Python reads no whole number of thousands of digits
        raise DataError(f"{name} has a number too long to be one of a config.", hint=WHAT_IS_ONE) from error
    if not isinstance(values, dict):
        kind = {list: "an array", str: "a text", type(None): "null"}.get(type(values), "a number")
        raise DataError(f"{name} is not a JSON object, but {kind}.", hint=WHAT_IS_ONE)
    return values


def _content_of(path: Path, name: str) -> bytes:
    try:
        return read_small(path, name, LARGEST_CONFIG, WHAT_IS_ONE)
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror or error}.") from error


def _text_of(content: bytes, name: str) -> str:
    if len(content) > LARGEST_CONFIG:
        raise DataError(f"{name} is too large to be a config.", hint=WHAT_IS_ONE)
    try:
        # With utf-8-sig a byte order mark, which some editors put there, is no part of the text.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not text: byte {error.start} is not UTF-8.", hint=WHAT_IS_ONE) from error


def config_path(name: str) -> Path:
    """Return the path of the config.json in the folder called `name`, or of the file called `name`.

    Raises:
        DataError: there is no such file or folder, or the folder has no config.json.
    """
    path = Path(os.path.expanduser(name))  # noqa: PTH111 - Path.expanduser raises for an unknown user
    try:
        if not path.exists():
            raise DataError(f"no file or folder {on_a_line(name)}.", hint=_nearest_sibling(path))
        if path.is_dir():
            return _config_in(path, name)
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise DataError(f"{name} cannot be read: {error.strerror or error}.") from error
    if path.suffix == ".safetensors":
        raise DataError(
            f"{name} holds weights, which have no config.",
            hint=f"Name the model, and the weights beside it: llmkit params MODEL --checkpoint-file {name}",
        )
    return path


def _config_in(folder: Path, name: str) -> Path:
    config = folder / CONFIG_FILE
    if config.is_file():
        return config
    if (folder / ADAPTER_FILE).is_file():
        raise adapter_error(name, read_config(folder / ADAPTER_FILE, f"{name}/{ADAPTER_FILE}"))
    nested = sorted([*folder.glob(f"*/{CONFIG_FILE}"), *folder.glob(f"snapshots/*/{CONFIG_FILE}")])
    hint = f"Name the folder inside: {nested[-1].parent}" if nested else WHAT_IS_ONE
    raise DataError(f"'{name}' has no {CONFIG_FILE}.", hint=hint)


def adapter_error(name: str, adapter: Mapping[str, Any]) -> DataError:
    """Return the error for a model that is an adapter alone; `adapter` is its adapter_config.json."""
    base = adapter.get("base_model_name_or_path") or "MODEL"
    targets = adapter.get("target_modules")
    spec = f"r={adapter.get('r', 8)}"
    if isinstance(targets, list) and targets:
        spec += f",targets={','.join(sorted(map(str, targets)))}"
    return DataError(
        f"'{name}' is an adapter ({ADAPTER_FILE}), not a whole model.",
        hint=f"Count its base with the adapter on it: llmkit params {base} --lora {spec}",
    )


def _nearest_sibling(missing: Path) -> str:
    folder = missing.parent
    siblings = [child.name for child in folder.iterdir()] if os.access(folder, os.R_OK) else []
    return did_you_mean(missing.name, siblings) or "Name a folder with a config.json, or a config.json."
