"""Running ``llmkit serve``: the models loaded, the socket bound, the server until it is told to stop."""

from __future__ import annotations

import contextlib
import socket as sockets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.cli.channels import note
from llmkit.errors import LlmkitError, MissingExtraError, UsageError
from llmkit.models.loading import LoadOptions
from llmkit.models.resolving import ResolvedModel
from llmkit.tasks.catalogue import TaskCall, find_task

if TYPE_CHECKING:
    from llmkit.serving.app import Served

EMBEDDINGS, CHAT = "embeddings", "chat"
_BACKLOG = 2048
_FINISHING = 30  # seconds for what was begun when the server is told to stop


@dataclass(frozen=True, slots=True)
class Wanted:
    """A path and the model behind it; `call` is None for vectors."""

    name: str
    model: str | None
    revision: str | None
    call: TaskCall | None


def wanted_of(tasks: list[str], model: str | None, revision: str | None) -> list[Wanted]:
    """Return what a call asks to be served.

    Raises:
        UsageError: a task that there is not, that is no task of text, or that is named twice.
    """
    wanted: list[Wanted] = []
    for each in tasks:
        name, _, named = each.partition("=")
        call = None if name == EMBEDDINGS else find_task("conversational" if name == CHAT else name)
        if call is not None and name != CHAT:
            from llmkit.serving.servable import check_servable

            check_servable(call.task)
        path = name if call is None or name == CHAT else call.name
        if path in [earlier.name for earlier in wanted]:
            raise UsageError(f"{path} is named twice: a server has one model for it.")
        wanted.append(Wanted(path, named or model, revision if not named else None, call))
    return wanted


def run_server(
    wanted: list[Wanted],
    load: LoadOptions,
    *,
    host: str,
    port: int,
    socket: str | None,
    token: str | None,
    body_bytes: int,
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
    with listening:
        from llmkit.serving.engine import Engine

        served = _loaded(wanted, load, body_bytes, waiting, seconds)
        from llmkit.serving.app import application

        engine = Engine(waiting)
        app = application(served, engine, token)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=_FINISHING,
        )
        shown = socket or f"http://{host}:{listening.getsockname()[1]}"
        note(f"listening at {shown}; /docs says what there is.")
        try:
            uvicorn.Server(config).run(sockets=[listening])
        finally:
            engine.end()
            if socket is not None:
                Path(socket).unlink(missing_ok=True)


def listener(host: str, port: int, path: str | None) -> sockets.socket:
    """Return a socket that listens: at a path where one is given, else at an address.

    Raises:
        LlmkitError: it cannot be had.
    """
    try:
        if path is not None:
            with contextlib.suppress(FileNotFoundError):
                if not Path(path).is_socket():
                    raise LlmkitError(f"--socket {path}: a file is there.", hint="Choose another name.")
                Path(path).unlink()
            opened = sockets.socket(sockets.AF_UNIX)
            opened.bind(path)
            Path(path).chmod(0o600)
        else:
            family = sockets.AF_INET6 if ":" in host else sockets.AF_INET
            opened = sockets.socket(family)
            opened.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
            opened.bind((host, port))
        opened.listen(_BACKLOG)
    except OSError as error:
        where = path or f"{host}:{port}"
        raise LlmkitError(
            f"cannot listen at {where}: {error.strerror or error}.", hint="Choose another --port."
        ) from None
    return opened


def _loaded(wanted: list[Wanted], load: LoadOptions, body_bytes: int, waiting: int, seconds: float) -> Served:
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
    from llmkit.data.encoding import ResultEncoder
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
            tasks.append(ServedTask(each.call, pipe, ResultEncoder(Path())))
    return Served(tasks, encoder, chat, Limits(body_bytes, waiting, seconds))


def _encoder(model: ResolvedModel, load: LoadOptions) -> Any:
    from llmkit.embeddings.encoder import load_encoder
    from llmkit.embeddings.settings import EmbedSettings
    from llmkit.serving.served_encoder import ServedEncoder

    return ServedEncoder(model.name, load_encoder(model, EmbedSettings(), load))
