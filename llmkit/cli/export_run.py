"""Running ``llmkit export``: into a folder that is whole or not there, and what came of the comparison."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import TypedDict

from llmkit.cli.channels import ResultStream, note
from llmkit.cli.demo_run import Wanted, find
from llmkit.cli.loading import quiet_client, quiet_libraries
from llmkit.cli.results import write_rows
from llmkit.data.atomic import explained_write
from llmkit.data.json_text import parse_json
from llmkit.data.small_files import read_small
from llmkit.errors import LlmkitError, OutputExistsError, UsageError
from llmkit.models.loading import LoadOptions
from llmkit.tasks.catalogue import find_task

if TYPE_CHECKING:
    from llmkit.models.resolved import ResolvedModel
    from llmkit.sharing.export.compared import Compared
    from llmkit.sharing.export.source import Source

# Of the largest number in the outputs, or of 1 where all are smaller, as what cancels out leaves its error: orders of
# summation differ by 1e-6 in float32, by 1e-2 in bfloat16.
_FAR = 0.05
# What an export wrote: --overwrite replaces that and nothing else.
_WRITTEN = "llmkit-export.json"
_MOST_WRITTEN = 1 << 20  # bytes


class ExampleCompared(TypedDict):
    """An example, and how far the exported model's outputs are from the original's."""

    example: str
    token_count: int
    largest_difference: float
    largest_output: float
    same_answer: bool


def run_export(
    name: str,
    form: str,
    folder: Path,
    results: ResultStream,
    format: str | None,  # noqa: A002
    *,
    task: str | None,
    revision: str | None,
    overwrite: bool,
) -> None:
    """Export a model that a call names, and write how far each example's outputs are from the original's.

    Raises:
        UsageError: there is nothing to do, the model does not say what it is for, or the folder is no earlier export.
        OutputExistsError: the folder is there.
        MissingExtraError: what does it is not installed.
        ModelError: the model cannot be had, or cannot be exported.
        LlmkitError: what was written answers otherwise than the original; it is taken away.
    """
    from llmkit.sharing.export.merged import check_adapter, export_merged
    from llmkit.sharing.export.onnx import check_packages, export_onnx
    from llmkit.sharing.export.source import Source, check_text, examples_for

    _check_place(folder, overwrite=overwrite)
    quiet_client()
    call = None if task is None else find_task(task)
    if form == "onnx":
        check_packages()
    load = LoadOptions(device="cpu", dtype="float32" if form == "onnx" else None)
    found = find(Wanted(name, call, revision, None), load)
    _check_apart(folder, found.model)
    check_text(found.call)
    if form == "merged":
        check_adapter(found.model)
    source = Source(found.model, found.call, examples_for(found.call), load)
    writing: Callable[[Source, Path], list[Compared]] = export_onnx if form == "onnx" else export_merged
    compared = _written(folder, lambda place: writing(source, place))
    rows = [
        {
            "example": each.shown,
            "token_count": each.tokens,
            "largest_difference": each.largest,
            "largest_output": each.scale,
            "same_answer": each.same,
        }
        for each in compared
    ]
    write_rows(results, rows, format, title=f"{name} and {folder}")
    worst = max((each.largest for each in compared), default=0.0)
    note(f"{folder} is written; its outputs on {len(compared)} examples differ by {worst:.2g} at most.")


def _check_place(folder: Path, *, overwrite: bool) -> None:
    """Refuse to replace anything but an earlier export, and that unasked.

    Raises:
        UsageError: a file is there, or a folder with something else in it.
        OutputExistsError: the folder is there.
    """
    other = "Name another folder with -o."
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder.", hint=other)
    if folder.exists() and not overwrite:
        raise OutputExistsError(
            f"{folder} is there already.", hint="Add --overwrite to replace it, or choose another name."
        )
    foreign = sorted(_files_of(folder) - _exported(folder)) if folder.is_dir() else []
    if foreign:
        raise UsageError(f"{folder} has {foreign[0]} in it, which no earlier export wrote.", hint=other)


def _files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def _exported(folder: Path) -> set[str]:
    """Return the files that an earlier export says it wrote; none where there was none."""
    with suppress(OSError, ValueError, KeyError, TypeError, LlmkitError):
        text = read_small(folder / _WRITTEN, str(folder / _WRITTEN), _MOST_WRITTEN).decode()
        return {_WRITTEN, *map(str, parse_json(text)["files"])}
    return set()


def _check_apart(folder: Path, model: ResolvedModel) -> None:
    """Raise UsageError where the folder has the model in it that is exported."""
    place = folder.resolve()
    for part in filter(None, (model.location if model.is_local else None, model.adapter)):
        if Path(part).resolve().is_relative_to(place):
            raise UsageError(f"{folder} has the model that is exported.", hint="Name another folder with -o.")


def _written(folder: Path, write: Callable[[Path], list[Compared]]) -> list[Compared]:
    """Write beside a folder's name, and move it there when it is whole and right."""
    folder = folder.resolve()  # "." has no name, and a link stays one
    place = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    with explained_write(folder):
        place.mkdir(parents=True)
    try:
        with quiet_libraries():
            compared = write(place)
        _check_near(compared)
        with explained_write(folder):
            files = sorted(_files_of(place))
            (place / _WRITTEN).write_text(f"{json.dumps({'files': files}, indent=1)}\n", encoding="utf-8")
            if folder.is_dir():
                shutil.rmtree(folder)
            place.rename(folder)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return compared


def _check_near(compared: Sequence[Compared]) -> None:
    for each in compared:
        if each.largest > _FAR * max(each.scale, 1.0):
            raise LlmkitError(
                f"the exported model is off by {each.largest:.2g} where the original gives up to {each.scale:.2g}, "
                f"on: {each.shown}",
                hint="Nothing was written.",
            )
