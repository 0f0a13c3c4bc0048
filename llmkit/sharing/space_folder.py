"""Shared files written into a folder, each in one step; what an earlier writing left there goes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from llmkit.data.atomic import explained_write, write_whole
from llmkit.errors import OutputExistsError, UsageError
from llmkit.sharing.contents import SharedFile
from llmkit.sharing.space import MODEL_FOLDER

_OWN_FOLDERS = ("llmkit", MODEL_FOLDER)
# What a repository has before anything is in it.
_OF_GIT = (".git", ".gitattributes", ".gitignore")


def check_space_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that a Space can be written into a folder: a new one, an empty one, a fresh clone.

    Raises:
        UsageError: a file is there.
        OutputExistsError: something is in it, and nobody said that it may be replaced.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder.")
    if folder.is_dir() and not overwrite:
        inside = sorted(path.name for path in folder.iterdir() if path.name not in _OF_GIT)
        if inside:
            raise OutputExistsError(
                f"{folder} is not empty: {inside[0]} is in it.",
                hint="Add --overwrite to replace what is a Space's, or name another folder.",
            )


def write_folder(folder: Path, files: Sequence[SharedFile]) -> None:
    """Write files into a folder, and take away what an earlier Space had in its own folders.

    Raises:
        OutputError: they cannot be written.
    """
    with explained_write(folder):
        folder.mkdir(parents=True, exist_ok=True)
    names = {file.name for file in files}
    for own in _OWN_FOLDERS:
        for path in sorted((folder / own).rglob("*")):
            if not path.is_dir() and path.relative_to(folder).as_posix() not in names:
                with explained_write(path):
                    path.unlink()
    for file in files:
        path = folder / file.name
        with explained_write(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if file.content is None and file.source is not None:
                temporary = path.with_name(f"{path.name}.tmp")
                shutil.copyfile(file.source, temporary)
                temporary.replace(path)
        if file.content is not None:
            write_whole(path, file.content)
