"""The content of a case's files, as the corpus says it in few characters.

A text stands for itself, in UTF-8, and a list for its parts one after the other. An object says how the bytes are made:

    {"hex": "89504e47"}                      bytes
    {"base64": "…"}                          bytes
    {"number": 8, "bytes": 8}                a whole number, the lowest byte first
    {"times": 1000, "of": …}                 the same again and again
    {"json": …}                              a value as JSON
    {"gzip": …}                              compressed
    {"safetensors": {…}, "data": …}          a header with its size before it, and what follows
    {"tar": {"name": …}} {"zip": {…}}        an archive of files
    {"tiny": "fill-mask/config.json"}        a file of a tiny model
    {"merged": …, "with": {…}}               the JSON object of some content, with other values; null takes a key away
    {"cut": …, "to": 100}                    the first bytes of some content; below 0 all but the last
    {"changed": …, "at": 100, "to": …}       some content with other bytes in their place
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Tiny = Callable[[str], Path]


def content_of(said: Any, tiny: Tiny) -> bytes:
    """Return the bytes that some content of the corpus stands for."""
    if isinstance(said, str):
        return said.encode()
    if isinstance(said, list):
        return b"".join(content_of(part, tiny) for part in said)
    made = next(name for name in _MAKERS if name in said)
    return _MAKERS[made](said, tiny)


def _safetensors(said: Mapping[str, Any], tiny: Tiny) -> bytes:
    header = said["safetensors"]
    text = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content_of(said.get("data", ""), tiny)


def _tar(said: Mapping[str, Any], tiny: Tiny) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, each in said["tar"].items():
            data = content_of(each, tiny)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def _zip(said: Mapping[str, Any], tiny: Tiny) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, each in said["zip"].items():
            zipped.writestr(name, content_of(each, tiny))
    return packed.getvalue()


def _tiny(said: Mapping[str, Any], tiny: Tiny) -> bytes:
    model, _, file = said["tiny"].partition("/")
    return Path(tiny(model), file).read_bytes()


def _merged(said: Mapping[str, Any], tiny: Tiny) -> bytes:
    values = {**json.loads(content_of(said["merged"], tiny)), **said["with"]}
    return json.dumps({name: value for name, value in values.items() if value is not None}).encode()


def _changed(said: Mapping[str, Any], tiny: Tiny) -> bytes:
    data, new, at = content_of(said["changed"], tiny), content_of(said["to"], tiny), said["at"]
    at = at if at >= 0 else len(data) + at
    return data[:at] + new + data[at + len(new) :]


_MAKERS: Mapping[str, Callable[[Mapping[str, Any], Tiny], bytes]] = {
    "hex": lambda said, tiny: bytes.fromhex(said["hex"]),
    "base64": lambda said, tiny: base64.b64decode(said["base64"]),
    "number": lambda said, tiny: said["number"].to_bytes(said["bytes"], "little"),
    "times": lambda said, tiny: content_of(said["of"], tiny) * said["times"],
    "json": lambda said, tiny: json.dumps(said["json"]).encode(),
    "gzip": lambda said, tiny: gzip.compress(content_of(said["gzip"], tiny), mtime=0),
    "safetensors": _safetensors,
    "tar": _tar,
    "zip": _zip,
    "tiny": _tiny,
    "merged": _merged,
    "cut": lambda said, tiny: content_of(said["cut"], tiny)[: said["to"]],
    "changed": _changed,
}
