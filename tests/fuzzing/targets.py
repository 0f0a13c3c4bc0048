"""What reads bytes that anybody may have made. A target takes any bytes; whatever it lets out is a fault.

What a user is told, an `LlmkitError`, is no fault, nor is a row that cannot be read.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO, cast
from unittest import mock

from llmkit.architectures.headers import read_headers
from llmkit.data.readers import READ_FORMATS
from llmkit.data.sources import read_file, read_stdin
from llmkit.data.yaml_text import parse_value
from llmkit.embeddings.vector_files import open_vectors
from llmkit.errors import LlmkitError
from llmkit.models.archives import unpacked
from llmkit.models.local_folder import local_model
from llmkit.serving.request_body import RefusedError, _json
from llmkit.serving.task_requests import read_request
from llmkit.tasks.catalogue import find_task
from llmkit.training.config_file import load_config
from llmkit.training.runs import read_run

Target = Callable[[bytes], None]
_FOLDER = Path(tempfile.mkdtemp(prefix="llmkit-fuzzing-"))


def _file(name: str, data: bytes) -> str:
    path = _FOLDER / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(data)
    return str(path)


def _rows(name: str) -> Target:
    def read(data: bytes) -> None:
        for row in READ_FORMATS[name].read(cast(BinaryIO, io.BytesIO(data)), "fuzz"):
            row.place.encode()

    return read


def _stream(data: bytes) -> None:
    for _ in read_stdin(cast(BinaryIO, io.BytesIO(data))):
        pass


def _gzip(data: bytes) -> None:
    for _ in read_file(_file("a.jsonl.gz", data)):
        pass


def _config(data: bytes) -> None:
    load_config(_file("a.yaml", data))


def _value(data: bytes) -> None:
    parse_value(data.decode(errors="replace"), "--set a")


def _headers(data: bytes) -> None:
    read_headers(_file("a.safetensors", data))


def _index(data: bytes) -> None:
    read_headers(_file("index.json", data))


def _model(data: bytes) -> None:
    _file("model/model.safetensors", (2).to_bytes(8, "little") + b"{}")
    _file("model/config.json", data)
    local_model(str(_FOLDER / "model"), False, True)


def _adapter(data: bytes) -> None:
    from llmkit.models.adapters import _check_kind, _scale
    from llmkit.models.local_folder import read_object

    settings = read_object(Path(_file("adapter_config.json", data)), "a")
    _check_kind(settings, "a")
    _scale(settings, "encoder.layer.0.attention.self.query", 2, "a")


def _vectors(ending: str) -> Target:
    def read(data: bytes) -> None:
        found = open_vectors(_file(f"vectors.{ending}", data))
        if found is not None:
            for _ in found.blocks():
                pass
            for _ in found.columns() if found.columns is not None else ():
                pass

    return read


def _archive(ending: str) -> Target:
    def read(data: bytes) -> None:
        unpacked(Path(_file(f"a.{ending}", data)), "a")

    return read


def _run(name: str) -> Target:
    def read(data: bytes) -> None:
        _file("run/log.jsonl", b'{"step": 1, "loss": 0.5}\n')
        _file(f"run/{name}", data)
        read_run(_FOLDER / "run")
        Path(_FOLDER, "run", name).unlink()

    return read


def _request(task: str) -> Target:
    call = find_task(task)
    pipe = SimpleNamespace(_sanitize_parameters=lambda **parameters: ({}, {}, {}))

    def read(data: bytes) -> None:
        with contextlib.suppress(RefusedError):
            read_request(call, pipe, _json(bytearray(data)))

    return read


_TARGETS: Mapping[str, Target] = {
    **{name: _rows(name) for name in ("txt", "csv", "tsv", "json", "jsonl", "squad", "conll", "parquet")},
    "stream": _stream,
    "gzip": _gzip,
    "config": _config,
    "value": _value,
    "headers": _headers,
    "index": _index,
    "model": _model,
    "adapter": _adapter,
    **{f"vectors-{ending}": _vectors(ending) for ending in ("npy", "safetensors", "jsonl", "csv", "parquet")},
    **{ending: _archive(ending) for ending in ("tar", "tar.gz", "zip")},
    **{f"run-{name}": _run(name) for name in ("log.jsonl", "metrics.json", "config.yaml", "run.json")},
    **{
        f"request-{task}": _request(task)
        for task in ("text-classification", "zero-shot-classification", "conversational")
    },
}
NAMES = tuple(_TARGETS)


def call(name: str, data: bytes) -> None:
    """Give bytes to a target."""
    own_cache = mock.patch.dict(os.environ, {"LLMKIT_CACHE": str(_FOLDER / "cache")})
    with contextlib.suppress(LlmkitError), own_cache:
        _TARGETS[name](data)
