"""Which files of a run's folder are shared, and what is in them: llmkit's own without this machine's folders."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from llmkit.data.yaml_text import read_yaml
from llmkit.errors import DataError
from llmkit.models.local_folder import PICKLE_SUFFIXES, check_folder, is_of_model

CARD = "README.md"
CONFIG = "config.yaml"
# What llmkit wrote beside the model; a folder of this machine in it is shortened to its last part.
OWN_TEXTS = ("log.jsonl", "metrics.json", "run.json", "cost.json")
_CURVE = "loss.png"
_OF_MODELS = (".safetensors", ".json", ".model", ".jinja")
_UNSHARED_FOLDERS = ("checkpoints", "runs", "tensorboard")
_ABSOLUTE = re.compile(r"(?<![\w/\\:.<>-])(?:~|[A-Za-z]:)?(?:[/\\][\w.@+=%~-]+){2,}[/\\]?")


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A file as it is shared.

    Attributes:
        name: its path in the repository, with slashes.
        source: where it lies; `content` is what goes instead, where that is another text than lies there.
    """

    name: str
    source: Path | None = None
    content: bytes | None = None

    @property
    def size(self) -> int:
        """Return its size."""
        if self.content is not None:
            return len(self.content)
        return self.source.stat().st_size if self.source is not None else 0

    def read(self) -> bytes:
        """Return all that is in it."""
        if self.content is not None:
            return self.content
        return self.source.read_bytes() if self.source is not None else b""


def shared_files(folder: Path, card: str) -> tuple[list[SharedFile], list[str]]:
    """Return the files of a run that are shared, the card first, and the names of those that are not.

    Checkpoints, hidden files, figures of trackers and whatever neither the model needs nor the run wrote stay here.
    Nor is a link followed, which could lead anywhere; one that the model needs is named.

    Raises:
        ModelError: the model is not whole.
        DataError: the config is damaged, or a file of the model is a link.
    """
    check_folder(folder, str(folder), allow_pickle=False, needs_weights=True)
    shared = [SharedFile(CARD, content=card.encode())]
    left: list[str] = []
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if name == CARD:
            continue
        if path.is_symlink():
            _check_link(path)
            left.append(name)
        elif not _is_shared(path, name):
            left.append(name)
        elif name == CONFIG:
            shared.append(SharedFile(name, content=_config_without_folders(path).encode()))
        elif name in OWN_TEXTS:
            text = path.read_text(encoding="utf-8", errors="replace")
            shared.append(SharedFile(name, content=without_folders(text).encode()))
        else:
            shared.append(SharedFile(name, path))
    return shared, left


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_symlink() or path.is_file():
            yield path
        elif path.is_dir() and path.name not in _UNSHARED_FOLDERS:
            yield from _files(path)


def _is_shared(path: Path, name: str) -> bool:
    """Tell whether a file is of the model or was written by the run: what else lies there stays here."""
    if path.suffix.lower() in PICKLE_SUFFIXES:
        return False
    return name in (CONFIG, _CURVE, *OWN_TEXTS) or is_of_model(path)


def _check_link(path: Path) -> None:
    if path.suffix.lower() in _OF_MODELS:
        raise DataError(
            f"{path} is a link, which is not followed.",
            hint="Put the file itself there: cp --remove-destination.",
        )


def without_folders(text: str) -> str:
    """Return a text with each absolute path shortened to its last part.

    >>> without_folders("from /data/mine/reviews.csv, see https://example.org/a/b")
    'from reviews.csv, see https://example.org/a/b'
    """
    return _ABSOLUTE.sub(lambda match: re.split(r"[/\\]", match[0].rstrip("/\\"))[-1], text)


def absolute_path(text: str) -> str | None:
    """Return the first absolute path in a text."""
    found = _ABSOLUTE.search(text)
    return found[0] if found else None


def _config_without_folders(path: Path) -> str:
    value = read_yaml(path.read_text(encoding="utf-8", errors="replace"), path.name).value
    if not isinstance(value, dict):
        raise DataError(f"{path} is no config of llmkit finetune.")
    return yaml.safe_dump(_shortened(value), sort_keys=False, allow_unicode=True)


def _shortened(value: Any) -> Any:
    """Return a value with every path in it shortened, those with spaces too: here a text is a path as a whole."""
    if isinstance(value, dict):
        return {key: _shortened(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_shortened(each) for each in value]
    if isinstance(value, str) and (value.startswith(("/", "~/")) or re.match(r"[A-Za-z]:[/\\]", value)):
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    return value
