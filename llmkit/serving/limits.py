"""What stands before every request: the token, the name that is asked for, and the count."""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.responses import JSONResponse

from llmkit.data.encoding import dump_json
from llmkit.serving.counted import Counted
from llmkit.serving.host_names import name_in

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_OPEN_PATHS = ("/health",)
_LONGEST_MESSAGE = 1000  # characters


class Answer(JSONResponse):
    """JSON as everywhere in llmkit; a text may hold half of a surrogate pair, which has no bytes of its own."""

    def render(self, content: Any) -> bytes:
        """Return the bytes of what is answered."""
        return dump_json(content).encode()


def refusal(status: int, message: str, hint: str | None = None, **headers: str) -> Answer:
    """Return an answer that says what is wrong, and what to do; what it repeats of a request is cut."""
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[: _LONGEST_MESSAGE - 1]}…"
    error = {"message": message, "hint": hint, "type": _TYPES.get(status, "server_error"), "code": status}
    return Answer({"error": error}, status, headers=headers)


_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    431: "invalid_request_error",
    504: "timeout_error",
}


class Gate:
    """The application behind its token, with every answer counted.

    Args:
        token: what ``Authorization: Bearer`` has to say; None where anybody may ask.
        paths: those that there are; others are counted together.
    """

    def __init__(self, inner: Application, token: str | None, counted: Counted, paths: set[str]) -> None:
        self._inner = inner
        self._token = None if token is None else token.strip().encode()
        self._counted = counted
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it in."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        begun, status = time.perf_counter(), 499  # a client that left saw none

        async def counting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if self._may_enter(scope):
                await self._inner(scope, receive, counting)
            else:
                answer = refusal(
                    401,
                    "the token is missing or wrong.",
                    "Send Authorization: Bearer TOKEN.",
                    **{"WWW-Authenticate": "Bearer"},
                )
                await answer(scope, receive, counting)
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._counted.add(path, status, time.perf_counter() - begun)

    def _may_enter(self, scope: Scope) -> bool:
        if self._token is None or scope["path"] in _OPEN_PATHS:
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        kind, _, token = given.partition(b" ")
        return kind.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)


class HostCheck:
    """An application that answers where it is asked for by a name that is its own (`host_names`)."""

    def __init__(self, inner: Application, names: frozenset[str]) -> None:
        self._inner = inner
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or say how the server would answer to the name."""
        asked = [value.decode("latin-1") for name, value in scope.get("headers", ()) if name == b"host"]
        if scope["type"] == "lifespan" or (len(asked) == 1 and name_in(asked[0]) in self._names):
            await self._inner(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            said = f"{asked[0]!r} is no name" if len(asked) == 1 else f"{len(asked)} names (Host) are not one"
            answer = refusal(
                403,
                f"{said} that this server answers to.",
                "If it is this machine's, start the server with --allow-host NAME.",
            )
            await answer(scope, receive, send)
