"""The body of a request, read as far as it may be: its type, its size, the time that sending it may take."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from llmkit.data.json_text import is_too_deep, object_of
from llmkit.serving.limits import refusal

_READ, _HELD = "is_read", "held"
_READ_TO_REFUSE = 16  # times the bytes that a request may have
_MOST_HELD = 512 << 20  # bytes of all requests that are there
_JSON = "application/json"
_MEDIA = ("image/", "audio/", "video/")
_BYTES = "application/octet-stream"


class RefusedError(Exception):
    """The request was answered before it was understood."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class Bodies:
    """Reads bodies, and knows how much of them is there.

    Args:
        most: bytes of one.
        seconds: that it may take to come.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self.most = most
        self.seconds = seconds
        self._held = 0

    async def read(self, request: Request, *, takes_bytes: bool = False) -> Any:
        """Return what the JSON says that was sent, or the bytes where those are taken.

        What is too long or too slow is not read to its end.

        Raises:
            RefusedError: it is not taken; with the answer that says so.
        """
        is_json = _kind_of(request) == _JSON
        # Another type could be sent by a page in a browser to a server on the same machine.
        if not is_json and not (takes_bytes and _holds_bytes(request)):
            hint = f"Content-Type: {_JSON}"
            wanted = "send JSON, or a file with its own type." if takes_bytes else "send JSON."
            raise RefusedError(refusal(415, wanted, hint))
        said = request.headers.get("content-length", "")
        if said.isdigit() and int(said) > _READ_TO_REFUSE * self.most:
            raise self._too_long()
        data, received = bytearray(), 0
        try:
            async with asyncio.timeout(self.seconds):
                async for part in request.stream():
                    received += len(part)
                    # Whoever is cut off while sending may never see why: a little more is read, and not kept.
                    if received > _READ_TO_REFUSE * self.most:
                        raise self._too_long()
                    if received <= self.most:
                        self._hold(request, len(part))
                        data += part
        except TimeoutError:
            late = refusal(408, "the request did not come whole in its time.", Connection="close")
            raise RefusedError(late) from None
        if received > self.most:
            raise self._too_long()
        setattr(request.state, _READ, True)
        return _json(data) if is_json else bytes(data)

    def let_go(self, request: Request) -> None:
        """Count a request's body as not there any more."""
        self._held -= getattr(request.state, _HELD, 0)
        setattr(request.state, _HELD, 0)

    def _hold(self, request: Request, count: int) -> None:
        if self._held + count > _MOST_HELD:
            busy = {"Retry-After": "1", "Connection": "close"}
            raise RefusedError(refusal(429, "too much was sent at once.", "Try again in a moment.", **busy))
        self._held += count
        setattr(request.state, _HELD, getattr(request.state, _HELD, 0) + count)

    def _too_long(self) -> RefusedError:
        return RefusedError(refusal(413, f"a request has at most {self.most:,} bytes.", Connection="close"))


def is_read(request: Request) -> bool:
    """Tell whether a request's body has come whole."""
    return bool(getattr(request.state, _READ, False))


def _kind_of(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _holds_bytes(request: Request) -> bool:
    """Tell whether a body is a file; one without a type is, but for a browser, which says where its page is from."""
    kind = _kind_of(request)
    if not kind:
        return "origin" not in request.headers
    return kind == _BYTES or kind.startswith(_MEDIA)


def _json(data: bytearray) -> Any:
    try:
        value = json.loads(data, parse_constant=_no_constant, object_pairs_hook=object_of)
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode()  # no tokenizer takes half of a surrogate pair
        if is_too_deep(value, data):
            raise RecursionError
    except (ValueError, RecursionError) as error:
        raise RefusedError(refusal(400, f"that is not JSON: {_reason(error)}.")) from None
    return value


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeEncodeError):
        return "half of a surrogate pair is no character"
    return "a whole number has thousands of digits" if "digits" in str(error) else str(error)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
