"""A connection that does not wait for ever for the head of a request: neither uvicorn nor h11 knows a limit to that."""

from __future__ import annotations

import asyncio
from typing import Any

from llmkit.serving.limits import refusal

_LATE = b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nConnection: close\r\n"


def protocol(seconds: float) -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP, with connections that are closed where the head of a request takes longer to come."""
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    class Impatient(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._look()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._look()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._cancel()

        def _look(self) -> None:
            """Begin to count where the head of a request is not whole; end where it is."""
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
                said = bytes(refusal(408, "the request did not come in its time.").body)
                self.transport.write(_LATE + b"Content-Length: %d\r\n\r\n" % len(said) + said)
                self.transport.close()

    return Impatient
