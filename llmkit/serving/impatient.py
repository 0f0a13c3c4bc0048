"""A connection that waits for the head of a request only so long, and refuses what is no HTTP as all else is."""

from __future__ import annotations

import asyncio
import sys
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from llmkit.serving.limits import refusal

_LINGERING = 2.0  # seconds that a client which was refused has to see why
_MOST_DROPPED = 16 << 20  # bytes that it may go on sending meanwhile


def protocol(seconds: float) -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP, with connections that are closed where the head of a request takes longer to come.

    It is that of h11, whatever else is installed: h11 knows a limit to how long a head may be.
    """
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Impatient(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None
        _is_refused = False
        _dropped = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._look()

        def data_received(self, data: bytes) -> None:
            if self._is_refused:
                self._drop(data)
                return
            super().data_received(data)
            self._look()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._cancel()

        def send_400_response(self, msg: str) -> None:
            """Say what is wrong with what came, as h11 has it: uvicorn calls this where h11 raised."""
            error = sys.exception()
            status = getattr(error, "error_status_hint", 400)
            reason = "a head is too long" if status == 431 else str(error).partition(": bytearray")[0] or msg
            said = f"the request cannot be read as HTTP: {reason[:1].lower()}{reason[1:]}."
            self._refuse(refusal(status, said, Connection="close"))

        def _unsupported_upgrade_warning(self) -> None:
            """Say nothing: no library is missing, there are no web sockets here, and the request is answered."""

        def _look(self) -> None:
            """Begin to count where the head of a request is not whole; end where it is."""
            if self._is_refused:
                return
            if self.cycle is not None and not self.cycle.response_complete:
                self._cancel()
            elif self._deadline is None and not self.transport.is_closing():
                self._deadline = self.loop.call_later(seconds, self._give_up)

        def _cancel(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _give_up(self) -> None:
            self._deadline = None
            is_idle = self.cycle is None or self.cycle.response_complete
            if is_idle and not self.transport.is_closing():
                self._refuse(refusal(408, "the request did not come in its time.", Connection="close"))

        def _refuse(self, answer: Response) -> None:
            """Answer without the application, where it has not begun to, and read no more.

            What a client still sends is taken for a moment and dropped: a connection that is closed on it is reset, and
            the client may never see the answer.
            """
            cycle = self.cycle
            if self.transport.is_closing() or (
                cycle is not None and cycle.response_started and cycle.more_body
            ):
                self.transport.close()
                return
            if cycle is not None:
                cycle.disconnected = True
                cycle.message_event.set()
            self._is_refused = True
            self._cancel()
            self.transport.write(_written(answer))
            self.transport.write_eof()
            self.flow.resume_reading()
            self._deadline = self.loop.call_later(_LINGERING, self.transport.close)

        def _drop(self, data: bytes) -> None:
            self._dropped += len(data)
            if self._dropped > _MOST_DROPPED:
                self.transport.close()

    return Impatient


def _written(answer: Response) -> bytes:
    """Return an answer as it goes over the wire."""
    head = f"HTTP/1.1 {answer.status_code} {HTTPStatus(answer.status_code).phrase}".encode()
    lines = [head, *(b"%s: %s" % each for each in answer.raw_headers), b"", bytes(answer.body)]
    return b"\r\n".join(lines)
