"""The models on this machine: embedded ones, the hub's cache, and archives that were unpacked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmkit.data.json_text import parse_json
from llmkit.errors import ModelError
from llmkit.models.archives import origin_of, unpacked_folder
from llmkit.models.embedded import (
    EMBEDDED_NAME,
    EMBEDDED_TITLE,
    adapter_folder,
    embedded_folder,
    embedded_names,
    has_embedded_encoder,
    measured,
    read_adapter,
)
from llmkit.models.gguf_files import GGUF_FILES
from llmkit.models.local_folder import ADAPTER_FILE, CONFIG_FILE

_WEIGHTS = ("*.safetensors", GGUF_FILES, "*.bin")


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that is here.

    Attributes:
        name: what ``--model`` takes.
        origin: embedded, hub cache or archive.
        source: where it came from: a package, a repository, the archive.
        bytes: on the disk.
        config: what its config.json says; empty without one.
        has_weights: False of a repository of which only small files were fetched, and of an archive without any.
        note: how good an embedded model is.
    """

    name: str
    origin: str
    source: str
    path: Path
    bytes: int
    revision: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    has_weights: bool = True
    note: str | None = None


def find_models(warn: Callable[[str], None]) -> list[FoundModel]:
    """Return the models that need no hub, the embedded ones first.

    `warn` is told of damaged ones; of these the embedded ones are listed, as without weights.
    """
    return [*_embedded(warn), *_cached(warn), *_unpacked()]


def _embedded(warn: Callable[[str], None]) -> Iterator[FoundModel]:
    if not has_embedded_encoder():
        return
    folder = embedded_folder()
    yield FoundModel(
        EMBEDDED_NAME,
        "embedded",
        f"{EMBEDDED_TITLE}, the extra offline",
        folder,
        size_of(folder),
        config=_config(folder),
        has_weights=_has_weights(folder),
        note="; ".join(measured(task) or "" for task in ("sentence-similarity", "zero-shot-classification")),
    )
    for name in embedded_names():
        yield _adapter(name, warn)


def _adapter(name: str, warn: Callable[[str], None]) -> FoundModel:
    folder = adapter_folder(name)
    full_name, size, config = f"{EMBEDDED_NAME}:{name}", size_of(folder), _config(folder)
    try:
        found = read_adapter(name)
    except ModelError as damage:
        warn(f"{damage.message} {damage.hint}")
        return FoundModel(full_name, "embedded", "", folder, size, config=config, has_weights=False)
    source = f"{found.card['data']['source']}; {found.card['data']['licence']}"
    return FoundModel(full_name, "embedded", source, folder, size, config=config, note=found.quality)


def _cached(warn: Callable[[str], None]) -> Iterator[FoundModel]:
    from huggingface_hub import constants, scan_cache_dir

    if not Path(constants.HF_HUB_CACHE).is_dir():
        return
    found = scan_cache_dir()
    for damage in sorted(str(each) for each in found.warnings):
        if f"{os.sep}models--" in damage:
            warn(f"a model in the hub's cache is not listed: {damage}. Fetch it again.")
    for repository in sorted(found.repos, key=lambda each: each.repo_id):
        if repository.repo_type != "model":
            continue
        for revision in sorted(repository.revisions, key=lambda each: -each.last_modified):
            folder = revision.snapshot_path
            yield FoundModel(
                repository.repo_id,
                "hub cache",
                constants.ENDPOINT,
                folder,
                revision.size_on_disk,
                revision=revision.commit_hash,
                config=_config(folder),
                has_weights=_has_weights(folder),
            )


def _unpacked() -> Iterator[FoundModel]:
    folder = unpacked_folder()
    for each in sorted(folder.iterdir()) if folder.is_dir() else ():
        archive = origin_of(each)
        if archive is not None:
            places = (*each.rglob(CONFIG_FILE), *each.rglob(ADAPTER_FILE))
            has_weights = any(any(each.rglob(pattern)) for pattern in _WEIGHTS)
            if not places and not has_weights:  # an archive of something else, which was refused
                continue
            yield FoundModel(
                archive,
                "archive",
                archive,
                each,
                size_of(each),
                config=_config(places[0].parent) if places else {},
                has_weights=has_weights,
            )


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _has_weights(folder: Path) -> bool:
    return any(any(folder.glob(pattern)) for pattern in _WEIGHTS)


def _config(folder: Path) -> dict[str, Any]:
    try:
        value = parse_json((folder / CONFIG_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
