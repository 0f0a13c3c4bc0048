"""Running ``llmkit serve``: the models loaded, the socket bound, the server until it is told to stop."""

from __future__ import annotations

import errno
import os
import socket as sockets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.cli.channels import note
from llmkit.errors import LlmkitError, MissingExtraError, UsageError
from llmkit.models.loading import LoadOptions
from llmkit.models.resolving import ResolvedModel
from llmkit.serving.host_names import address, names_answered_to
from llmkit.tasks.catalogue import TaskCall, find_task
from llmkit.wanted import within

if TYPE_CHECKING:
    from llmkit.serving.app import Served

EMBEDDINGS, CHAT = "embeddings", "chat"
_BACKLOG = 2048
_LAST_PORT = 65_535
_FINISHING = 30  # seconds for what was begun when the server is told to stop


@dataclass(frozen=True, slots=True)
class Wanted:
    """A path and the model behind it; `call` is None for vectors."""

    name: str
    model: str | None
    revision: str | None
    call: TaskCall | None
    alias: str | None = None


def names_of(model: str | None, revision: str | None, load: LoadOptions) -> list[str]:
    """Return the tasks that a model is for, as its config tells.

    Raises:
        UsageError: no model is named, or it does not tell.
        ModelError: it cannot be had.
    """
    example = "For example: llmkit serve sentiment-analysis embeddings"
    if model is None:
        raise UsageError("nothing to serve: name tasks, or a --model.", hint=example)
    from llmkit.cli.loading import quiet_libraries
    from llmkit.models.resolving import resolve_model
    from llmkit.tasks.served import tasks_of

    resolved = resolve_model(model, revision=revision, allow_pickle=load.allow_pickle)
    with quiet_libraries():
        from llmkit.models.loading import load_config

        found = tasks_of(load_config(resolved, load, "serve").to_dict())
    if not found:
        raise UsageError(f"{model} does not say which tasks it is for.", hint=f"Name them. {example}")
    note(f"serving what {model} is for: {', '.join(found)}")
    return list(found)


def wanted_of(tasks: list[str], model: str | None, revision: str | None) -> list[Wanted]:
    """Return what a call asks to be served.

    Raises:
        UsageError: a task that there is not, that is named twice, or whose model is missing after the ``=``.
        MissingExtraError: what reads its inputs is not installed.
    """
    wanted: list[Wanted] = []
    for each in tasks:
        name, equals, named = each.partition("=")
        if equals and not named.strip():
            raise UsageError(f"{each}: write it as TASK=MODEL, or the task alone.")
        call = None if name == EMBEDDINGS else find_task("conversational" if name == CHAT else name)
        if call is not None:
            from llmkit.serving.request_media import check_packages

            check_packages(call.task)
        path = name if call is None or name == CHAT else call.name
        if path in [earlier.name for earlier in wanted]:
            raise UsageError(f"{path} is named twice: a server has one model for it.")
        wanted.append(Wanted(path, named or model, revision if not named else None, call, name))
    return wanted


def run_server(
    wanted: list[Wanted],
    load: LoadOptions,
    *,
    host: str,
    port: int,
    socket: str | None,
    names: tuple[str, ...],
    token: str | None,
    body_bytes: int | None,
    waiting: int,
    seconds: float,
) -> None:
    """Serve until told to stop; what was begun then is finished.

    Raises:
        MissingExtraError: the server is not installed.
        LlmkitError: a model cannot be had, or the address cannot be.
    """
    try:
        import uvicorn
    except ImportError:
        raise MissingExtraError("llmkit serve", "serve") from None
    listening = listener(host, port, socket)  # before the models: an address that is taken shows at once
    try:
        with listening:
            served = _loaded(wanted, load, body_bytes, waiting, seconds)
            if socket is not None:
                _run(uvicorn, listening, served, token, None, socket)
            else:
                bound, number = listening.getsockname()[:2]
                answered_to = names_answered_to(host, bound, names)
                _run(uvicorn, listening, served, token, answered_to, address(host, number))
    finally:
        if socket is not None:
            Path(socket).unlink(missing_ok=True)


def _run(
    uvicorn: Any,
    listening: sockets.socket,
    served: Served,
    token: str | None,
    names: frozenset[str] | None,
    shown: str,
) -> None:
    from llmkit.serving.app import application
    from llmkit.serving.engine import Engine
    from llmkit.serving.impatient import protocol

    engine = Engine(served.limits.waiting)
    config = uvicorn.Config(
        application(served, engine, token, names),
        http=protocol(served.limits.seconds),
        ws="none",
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=_FINISHING,
    )
    note(f"listening at {shown}; /docs says what there is.")
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        engine.end()


def listener(host: str, port: int, path: str | None) -> sockets.socket:
    """Return a socket that listens: at a path where one is given, else at an address.

    Raises:
        UsageError: there is no port of this number.
        LlmkitError: it cannot be had.
    """
    if path is None:
        within(0, _LAST_PORT, port, "--port")
    try:
        if path is not None:
            _make_room(path)
            opened = sockets.socket(sockets.AF_UNIX)
            mask = os.umask(0o177)
            try:
                opened.bind(path)
            finally:
                os.umask(mask)
        else:
            family = sockets.AF_INET6 if ":" in host else sockets.AF_INET
            opened = sockets.socket(family)
            opened.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
            opened.bind((host, port))
        opened.listen(_BACKLOG)
    except (UnicodeError, TypeError):  # of a name that no host can have
        raise UsageError(f"--host {host}: no host has such a name.") from None
    except OSError as error:
        is_host = isinstance(error, sockets.gaierror) or error.errno == errno.EADDRNOTAVAIL
        option = "--socket" if path is not None else "--host" if is_host else "--port"
        where = path or f"{host}:{port}"
        raise LlmkitError(
            f"cannot listen at {where}: {error.strerror or error}.", hint=f"Choose another {option}."
        ) from None
    return opened


def _make_room(path: str) -> None:
    """Take the socket away that a server has left which is there no more.

    Raises:
        UsageError: it is something else.
        LlmkitError: a server listens there.
    """
    if not Path(path).is_socket():
        if Path(path).exists():
            raise UsageError(f"--socket {path}: a file is there.", hint="Choose another name.")
        return
    with sockets.socket(sockets.AF_UNIX) as asking:
        try:
            asking.connect(path)
        except OSError:
            Path(path).unlink(missing_ok=True)
            return
    raise LlmkitError(f"--socket {path}: another server listens there.", hint="Choose another name.")


def _loaded(
    wanted: list[Wanted], load: LoadOptions, body_bytes: int | None, waiting: int, seconds: float
) -> Served:
    from llmkit.cli.loading import load_quietly, quiet_libraries
    from llmkit.tasks.resolve import resolve_for

    resolved = []
    for each in wanted:
        if each.call is None:
            from llmkit.embeddings.api import find_encoder

            found = find_encoder(each.model, each.revision, allow_pickle=load.allow_pickle)
        else:
            found = resolve_for(each.call, each.model, each.revision, allow_pickle=load.allow_pickle)
        if found.note:
            note(found.note)
        resolved.append(found)
    from llmkit.serving.app import Limits, Served
    from llmkit.serving.served_chat import ServedChat
    from llmkit.serving.served_tasks import ServedTask

    tasks: list[ServedTask] = []
    encoder, chat = None, None
    for each, model in zip(wanted, resolved, strict=True):
        if each.call is None:
            with quiet_libraries():
                encoder = _encoder(model, load)
            continue
        pipe = load_quietly(each.call, model, load)
        if each.name == CHAT:
            chat = ServedChat(model.name, pipe)
        else:
            tasks.append(ServedTask(each.call, pipe, each.alias))
    return Served(tasks, encoder, chat, Limits(body_bytes, waiting, seconds))


def _encoder(model: ResolvedModel, load: LoadOptions) -> Any:
    from llmkit.embeddings.encoder import load_encoder
    from llmkit.embeddings.settings import EmbedSettings
    from llmkit.serving.served_encoder import ServedEncoder

    return ServedEncoder(model.name, load_encoder(model, EmbedSettings(), load))
