"""Checkpoints that are whole or not there.

A checkpoint is written in a folder of another name, each file synced, a manifest with sizes and hashes last; then
the folder is renamed. Older ones are removed only after that. Whatever a kill leaves behind is passed over.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.data.atomic import explained_write, reason_of
from llmkit.data.json_text import parse_json
from llmkit.errors import ModelError
from llmkit.training.sharding import put

if TYPE_CHECKING:
    import torch

MANIFEST = "manifest.json"
STATE = "state.json"
WEIGHTS = "weights.safetensors"
OPTIMIZER = "optimizer.safetensors"
_NAME = re.compile(r"step-(\d+)")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint's folder, and the step it was made after."""

    path: Path
    step: int


@dataclass(frozen=True, slots=True)
class Passed:
    """A checkpoint that was passed over, and why."""

    path: Path
    reason: str


def write_checkpoint(folder: Path, step: int, files: Mapping[str, Callable[[Path], object]]) -> Checkpoint:
    """Write a checkpoint.

    Args:
        folder: of all checkpoints.
        files: the name of each file, and what writes it.

    Raises:
        OutputError: it cannot be written; older checkpoints are as they were.
    """
    final = folder / f"step-{step:08d}"
    beside = folder / f".writing-step-{step:08d}"
    with explained_write(final, hint="The checkpoints before it are whole."):
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        entries = {}
        for name, write in files.items():
            write(beside / name)
            entries[name] = _sealed(beside / name)
        manifest = beside / MANIFEST
        manifest.write_text(json.dumps({"step": step, "files": entries}, indent=1), encoding="utf-8")
        sync(manifest)
        sync(beside)
        if final.exists():  # a damaged one, or the resumed run came by again
            shutil.rmtree(final)
        beside.rename(final)
        sync(folder)
    return Checkpoint(final, step)


def _sealed(path: Path) -> dict[str, Any]:
    sync(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": digest}


def sync(path: Path) -> None:
    """Wait until a file, or what is in a folder, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_old(folder: Path, keep: int, written: int | None = None) -> None:
    """Remove all but the newest `keep` checkpoints, and what unfinished writes left.

    Args:
        written: the step that was written now: later ones are damaged, or the run would have gone on from there.
    """
    names = sorted((path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)), reverse=True)
    later = [path for path in names if written is not None and path.name > f"step-{written:08d}"]
    kept = [path for path in names if path not in later]
    for path in [*later, *kept[max(1, keep) :]]:
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(".writing-*"):
        shutil.rmtree(path, ignore_errors=True)


def newest_whole(folder: Path) -> tuple[Checkpoint | None, list[Passed]]:
    """Return the newest checkpoint that is whole, and those that were passed over on the way to it."""
    passed: list[Passed] = []
    found = [(int(match[1]), path) for path in folder.glob("step-*") if (match := _NAME.fullmatch(path.name))]
    for step, path in sorted(found, reverse=True):
        reason = next(iter(damages(path)), None)
        if reason is None:
            return Checkpoint(path, step), passed
        passed.append(Passed(path, reason))
    return None, passed


def damages(path: Path) -> Iterator[str]:
    """Go through what is wrong with a checkpoint's files."""
    try:
        manifest = parse_json((path / MANIFEST).read_text(encoding="utf-8"))
        entries = {name: (entry["size"], entry["sha256"]) for name, entry in manifest["files"].items()}
    except FileNotFoundError:
        yield "it was not finished: no manifest"
        return
    except OSError as error:
        yield f"its manifest cannot be read: {reason_of(error)}"
        return
    except (ValueError, KeyError, TypeError, AttributeError):
        yield "its manifest is damaged"
        return
    for name, (size, digest) in entries.items():
        file = path / name
        try:
            if not file.is_file():
                yield f"{name} is missing"
            elif file.stat().st_size != size:
                yield f"{name} has {file.stat().st_size:,} bytes, not {size:,}"
            elif _sealed(file)["sha256"] != digest:
                yield f"{name} is damaged"
        except OSError as error:
            yield f"{name} cannot be read: {reason_of(error)}"


def read_state(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what the loop kept beside the tensors."""
    state: dict[str, Any] = parse_json((checkpoint.path / STATE).read_text(encoding="utf-8"))
    return state


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> dict[str, torch.Tensor]:
    """Return the optimizer's state as named tensors: ``exp_avg.classifier.weight``.

    Args:
        names: the name of each parameter, by its ``id``.
    """
    return {
        f"{key}.{names[id(parameter)]}": tensor.detach().cpu().contiguous()
        for parameter, state in optimizer.state.items()
        for key, tensor in state.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor], names: Mapping[int, str]
) -> None:
    """Put back what `optimizer_tensors` took.

    Raises:
        ModelError: it is of another model.
    """
    by_name: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        kind, _, name = key.partition(".")
        by_name.setdefault(name, {})[kind] = tensor
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = by_name.get(names[id(parameter)])
            if state is None:
                continue
            if "exp_avg" in state and state["exp_avg"].shape != parameter.shape:
                raise ModelError("the checkpoint is of a model of another shape.")
            # Copied, so that nothing hangs on the file, which will be removed. A fused optimizer wants the number
            # of the step on the device, too.
            optimizer.state[parameter] = {
                kind: tensor.to(parameter.device, copy=True) if kind == "step" else _like(parameter, tensor)
                for kind, tensor in state.items()
            }


def _like(parameter: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor where a parameter is, and sharded as it is."""
    if not hasattr(parameter, "device_mesh"):
        return tensor.to(parameter.device, copy=True)
    found = parameter.detach().clone()
    put(found, tensor)
    return found
