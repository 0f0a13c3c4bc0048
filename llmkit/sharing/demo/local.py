"""The page behind an address of this machine: no link to it elsewhere, nothing sent or fetched from outside."""

from __future__ import annotations

import os
from typing import Any

_MOST_UPLOADED = "64mb"
# What the page may do in a browser: a card or an answer that names a picture elsewhere tells nobody that it was read.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; frame-ancestors 'none'; "
    "base-uri 'self'; form-action 'self'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


def keep_to_itself(folder: str) -> None:
    """Set what Gradio reads when it is imported: no telemetry, and what is uploaded goes into `folder`."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["GRADIO_TEMP_DIR"] = folder


def local_app(page: Any, *, host: str, port: int, auth: tuple[str, str] | None) -> Any:
    """Return the ASGI application that serves a page.

    Args:
        page: what `llmkit.sharing.demo.page.page_of` returns.
        auth: the name and the password that a visitor must give; None lets everybody in who can reach the address.
    """
    import gradio
    from fastapi import FastAPI

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(_WithHeaders)
    return gradio.mount_gradio_app(
        app,
        page,
        path="/",
        server_name=host,
        server_port=port,
        auth=auth,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        max_file_size=_MOST_UPLOADED,
    )


class _WithHeaders:
    """Adds the headers that keep a page to itself to every answer."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
            await send(message)

        await self._app(scope, receive, with_headers)
