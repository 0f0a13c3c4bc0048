"""Pipelines that a warm worker keeps loaded, each known by all that its loading depended on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.models.loading import LoadOptions
from llmkit.models.local_folder import files_of_model
from llmkit.models.resolved import ResolvedModel
from llmkit.tasks.catalogue import TaskCall, find_task

if TYPE_CHECKING:
    from transformers import Pipeline

MOST_KEPT = 4
_REHEARSED_SECONDS = 0.5
_COMMIT = re.compile(r"[0-9a-f]{40}")


class KeptPipelines:
    """Pipelines by what they were loaded from, those used last at the end.

    A process that runs one call reports what it had to load with `report`; the worker's first process loads the
    same, for the calls to come.
    """

    def __init__(self) -> None:
        self.report: Callable[[dict[str, Any]], None] | None = None
        self._pipelines: dict[str, Pipeline] = {}
        self._names: dict[str, str] = {}
        self._calls: dict[str, TaskCall] = {}

    @property
    def names(self) -> list[str]:
        """Return the models' names with their tasks."""
        return list(self._names.values())

    def find(self, call: TaskCall, resolved: ResolvedModel, load: LoadOptions) -> Pipeline | None:
        """Return the pipeline that loading would give, None where it is not kept."""
        if self.report is None:
            return None  # this process is a command's own
        key = identity(call, resolved, load)
        found = self._pipelines.get(key) if key is not None else None
        if found is None or key is None:
            return None
        self.report({"used": key})
        return found

    def loaded(self, call: TaskCall, resolved: ResolvedModel, load: LoadOptions, pipe: Pipeline) -> None:
        """Report a pipeline that was loaded, if it can be kept: one on a CPU, which ran nobody's code."""
        if self.report is None or pipe.device.type != "cpu" or load.trust_remote_code or load.allow_pickle:
            return
        if identity(call, resolved, load) is None:
            return
        self.report({"loaded": {"call": call.name, "resolved": asdict(resolved), "load": asdict(load)}})

    def use(self, key: str) -> None:
        """Count a pipeline as the one used last."""
        if key in self._pipelines:
            self._pipelines[key] = self._pipelines.pop(key)
            self._names[key] = self._names.pop(key)
            self._calls[key] = self._calls.pop(key)

    def load(self, described: dict[str, Any]) -> None:
        """Load what another process has described and keep it, in the place of the one unused for longest."""
        from llmkit.serving.rehearsal import rehearse
        from llmkit.tasks.build import build_pipeline

        call = find_task(described["call"])
        resolved = ResolvedModel(
            **{each.name: described["resolved"][each.name] for each in fields(ResolvedModel)}
        )
        load = LoadOptions(**{each.name: described["load"][each.name] for each in fields(LoadOptions)})
        key = identity(call, resolved, load)
        if key is None or key in self._pipelines:
            return
        local = replace(resolved, cached_only=not resolved.is_local)
        # Its device is the CPU, and to look for others would keep those processes from them that are made of this one.
        pipe = build_pipeline(call, local, replace(load, device="cpu"))
        while len(self._pipelines) >= MOST_KEPT:
            self._drop(next(iter(self._pipelines)))
        self._pipelines[key] = pipe
        self._calls[key] = call
        self._names[key] = f"{resolved.name} ({call.name})"
        rehearse(call, pipe, _REHEARSED_SECONDS)

    def rehearse(self) -> None:
        """Let the pipeline used last do what only the first input costs, in a process that waits for a call."""
        if not self._calls:
            return
        from llmkit.serving.rehearsal import rehearse

        key = next(reversed(self._calls))
        rehearse(self._calls[key], self._pipelines[key])

    def _drop(self, key: str) -> None:
        for each in (self._pipelines, self._names, self._calls):
            del each[key]


def identity(call: TaskCall, resolved: ResolvedModel, load: LoadOptions) -> str | None:
    """Return all that a loaded pipeline depends on, as text; None where that cannot be told.

    A local model is its files, with their sizes and times; one of the hub is its commit.
    """
    if not resolved.is_local and not all(
        _COMMIT.fullmatch(each or "")
        for each in (resolved.revision, resolved.weights_revision or resolved.revision)
    ):
        return None
    folders = [resolved.location] if resolved.is_local else []
    folders += [resolved.adapter] if resolved.adapter is not None else []
    described = asdict(replace(resolved, name="", note=None, cached_only=False))
    try:
        files = [list(files_of_model(Path(folder))) for folder in folders]
        return json.dumps([call.name, described, asdict(load), files], sort_keys=True)
    except (OSError, TypeError, ValueError):
        return None


KEPT = KeptPipelines()
"""Those of this process."""
