"""Running ``llmkit demo``: which model and task are meant, the page served until told to stop, or its Space written."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from llmkit.cli.channels import ResultStream, note
from llmkit.errors import MissingExtraError, ModelError, UsageError, did_you_mean
from llmkit.models.loading import LoadOptions
from llmkit.models.resolved import ResolvedModel
from llmkit.serving.host_names import address, names_answered_to
from llmkit.tasks.catalogue import TaskCall, find_task, task_names

_FINISHING = 5  # seconds for an answer that was begun when the page is told to stop


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a call asks for; None is left to the model, or to the task."""

    model: str | None
    call: TaskCall | None
    revision: str | None
    title: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """A model and the task that it is shown for; `metadata` and `card` are its card's."""

    title: str
    call: TaskCall
    model: ResolvedModel
    metadata: Mapping[str, Any]
    card: str


def wanted_of(
    name: str, model: str | None, task: str | None, revision: str | None, title: str | None
) -> Wanted:
    """Return what is meant by a name, which is a task's or a model's.

    Raises:
        UsageError: task or model is said twice, or there is no such task.
    """
    if _is_task(name):
        if task is not None:
            raise UsageError(f"the task is said twice: {name}, and --task {task}.")
        return Wanted(model, find_task(name), revision, title)
    if model is not None:
        raise UsageError(
            f"the model is said twice: {name}, and --model {model}.",
            hint=f"Or is {name} a task? `llmkit tasks` lists them.",
        )
    return Wanted(name, None if task is None else find_task(task), revision, title)


def _is_task(name: str) -> bool:
    return name in task_names() or (name.startswith("translation_") and "_to_" in name)


def find(wanted: Wanted, load: LoadOptions) -> Found:
    """Find the model, its card and its task.

    Raises:
        UsageError: the model does not say what it is for.
        ModelError: it cannot be had.
    """
    from llmkit.models.resolving import resolve_model
    from llmkit.sharing.demo.card import card_of_model
    from llmkit.sharing.model_task import task_of_model
    from llmkit.tasks.resolve import resolve_for

    if wanted.call is not None:
        model = resolve_for(wanted.call, wanted.model, wanted.revision, allow_pickle=load.allow_pickle)
    else:
        try:
            model = resolve_model(wanted.model, revision=wanted.revision, allow_pickle=load.allow_pickle)
        except ModelError as error:
            guess = did_you_mean(wanted.model or "", task_names())
            if guess is not None:  # a task, mistyped
                error.hint = f"If a task was meant: {guess}"
            raise
    if model.note:
        note(model.note)
    metadata, card = card_of_model(model)
    call = wanted.call or find_task(task_of_model(model, metadata))
    if wanted.call is None:
        note(f"{model.name} is taken for {call.name}; --task names another.")
    title = wanted.title or (Path(model.name).absolute().name if _is_folder(model) else model.name)
    return Found(" ".join(title.split()), call, model, metadata, card)


def _is_folder(model: ResolvedModel) -> bool:
    return not model.embedded and (model.is_local or model.adapter is not None)


def check_gradio() -> None:
    """Raise MissingExtraError where the page cannot be made."""
    import importlib.util

    if any(importlib.util.find_spec(name) is None for name in ("gradio", "uvicorn")):
        raise MissingExtraError("llmkit demo", "demo")


def show_page(
    wanted: Wanted,
    load: LoadOptions,
    *,
    host: str,
    port: int,
    names: tuple[str, ...],
    auth: tuple[str, str] | None,
    opened: bool,
) -> None:
    """Serve a model's page until told to stop.

    Raises:
        MissingExtraError: Gradio is not installed.
        LlmkitError: the model cannot be had, or the address cannot be.
    """
    check_gradio()
    from llmkit.cli.loading import load_quietly, quiet_client
    from llmkit.cli.serve_run import listener

    with (
        listener(host, port, None) as listening,
        tempfile.TemporaryDirectory(prefix="llmkit-demo-") as folder,
    ):
        quiet_client()
        found = find(wanted, load)
        pipe = load_quietly(found.call, found.model, load)
        from llmkit.sharing.demo.local import keep_to_itself, local_app

        keep_to_itself(folder)
        from llmkit.sharing.demo.demo import Demo
        from llmkit.sharing.demo.page import page_of

        page = page_of(Demo(found.title, found.call, pipe, found.metadata, found.card))
        bound, port = listening.getsockname()[:2]
        app = local_app(page, host=host, port=port, auth=auth)
        note(f"{found.title} can be tried at {address(host, port)}; Ctrl-C ends it.")
        if opened:
            _open(address(host, port))
        _serve(app, listening, names_answered_to(host, bound, names))


def _serve(app: Any, listening: Any, names: frozenset[str] | None) -> None:
    import uvicorn

    from llmkit.serving.limits import HostCheck

    if names is not None:
        app = HostCheck(app, names)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=_FINISHING
    )
    uvicorn.Server(config).run(sockets=[listening])


def _open(address: str) -> None:
    import threading
    import webbrowser

    threading.Timer(1.0, webbrowser.open, [address]).start()


class SpaceFolder(TypedDict):
    """The folder of a Space that was written (--space)."""

    folder: str
    task: str
    files: int
    bytes: int


def write_space(
    wanted: Wanted, load: LoadOptions, folder: str, results: ResultStream, *, overwrite: bool
) -> None:
    """Write the folder of a Space that shows a model's page.

    Raises:
        UsageError: it needs the model's own code, or pickles.
        OutputExistsError: something is in the folder.
        ModelError: the model cannot be had.
        MissingExtraError: Gradio is not installed, whose version the Space names.
    """
    check_gradio()
    from llmkit.cli.loading import quiet_client
    from llmkit.cli.results import write_rows
    from llmkit.sharing.checks import check_files
    from llmkit.sharing.push import known_tokens
    from llmkit.sharing.space import SpaceOf, space_files
    from llmkit.sharing.space_folder import check_space_folder, write_folder

    for given, option in (
        (load.trust_remote_code, "--trust-remote-code"),
        (load.allow_pickle, "--allow-pickle"),
    ):
        if given:
            raise UsageError(f"{option} is not for --space: a Space of llmkit runs no code of a model.")
    check_space_folder(Path(folder), overwrite=overwrite)
    quiet_client()
    found = find(wanted, load)
    files = space_files(SpaceOf(found.title, found.call, found.model, found.metadata))
    check_files(files, known_tokens())
    write_folder(Path(folder), files)
    row = {
        "folder": folder,
        "task": found.call.name,
        "files": len(files),
        "bytes": sum(file.size for file in files),
    }
    write_rows(results, [row], None, title=folder, single=True)
    note(
        f"python {folder}/app.py runs it here; hf upload OWNER/NAME {folder} --repo-type space puts it on the hub."
    )
