"""The application that a server runs: a path for each task, those of OpenAI's shape, health, figures, documentation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from llmkit._version import __version__
from llmkit.serving.counted import CONTENT_TYPE, Counted
from llmkit.serving.description import description, page
from llmkit.serving.engine import BusyError, Engine, Job, LateError
from llmkit.serving.limits import Application, Gate, refusal
from llmkit.serving.served_chat import ServedChat
from llmkit.serving.served_encoder import ServedEncoder
from llmkit.serving.served_tasks import BadRequestError, ModelFailedError, ServedTask

_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (BusyError, 429),
    (LateError, 504),
    (BadRequestError, 400),
    (ModelFailedError, 422),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server takes.

    Attributes:
        body_bytes: of a request.
        waiting: requests that may wait for a model.
        seconds: that an answer may take; sending a request has as many.
    """

    body_bytes: int = 1 << 20
    waiting: int = 256
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Served:
    """What a server serves, all of it loaded."""

    tasks: Sequence[ServedTask] = ()
    encoder: ServedEncoder | None = None
    chat: ServedChat | None = None
    limits: Limits = field(default_factory=Limits)


class _RefusedError(Exception):
    """The request was answered before it was understood."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def application(served: Served, engine: Engine, token: str | None = None) -> Application:
    """Return the ASGI application."""
    server = _Server(served, engine)
    routes = server.routes()
    paths = {route.path for route in routes}
    app = Starlette(routes=routes, exception_handlers={404: _not_there, 405: _not_so, 500: _at_fault})
    return Gate(app, token, server.counted, paths)


async def _not_there(request: Request, error: Exception) -> Response:
    return refusal(404, f"there is no {request.url.path} here.", "GET /docs lists what there is.")


async def _not_so(request: Request, error: Exception) -> Response:
    allowed = getattr(error, "headers", None) or {}
    return refusal(405, f"{request.url.path} does not take {request.method}.", **allowed)


async def _at_fault(request: Request, error: Exception) -> Response:
    return refusal(500, "that is a fault of llmkit or of a library; the server's log shows where.")


class _Server:
    """The handlers."""

    def __init__(self, served: Served, engine: Engine) -> None:
        self.served = served
        self.engine = engine
        self.counted = Counted(lambda: engine.waiting)
        self._description = description(served)

    def routes(self) -> list[Route]:
        """Return a route for each path that there is."""
        routes = [
            Route("/health", self._health),
            Route("/metrics", self._metrics),
            Route("/docs", self._docs),
            Route("/openapi.json", self._openapi),
            Route("/v1/models", self._models),
        ]
        routes += [
            Route(f"/{task.call.name}", self._answering(task), methods=["POST"]) for task in self.served.tasks
        ]
        if self.served.encoder is not None:
            routes.append(Route("/v1/embeddings", self._answering(self.served.encoder), methods=["POST"]))
        if self.served.chat is not None:
            routes.append(Route("/v1/chat/completions", self._chat, methods=["POST"]))
        return routes

    # -- what only tells

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", "llmkit": __version__, "waiting": self.engine.waiting})

    async def _metrics(self, request: Request) -> Response:
        return PlainTextResponse(self.counted.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _openapi(self, request: Request) -> Response:
        return JSONResponse(self._description)

    async def _docs(self, request: Request) -> Response:
        return HTMLResponse(page(self._description))

    async def _models(self, request: Request) -> Response:
        models = [each for each in (self.served.encoder, self.served.chat) if each is not None]
        data = [{"id": each.name, "object": "model", "created": 0, "owned_by": "llmkit"} for each in models]
        return JSONResponse({"object": "list", "data": data})

    # -- what computes

    def _answering(self, served: ServedTask | ServedEncoder) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            async def respond() -> Response:
                body = await self._body(request)
                values = await self.engine.result(served.job(body), self.served.limits.seconds)
                return JSONResponse(await asyncio.to_thread(served.answer, body, values))

            return await self._guarded(request, respond)

        return answer

    async def _chat(self, request: Request) -> Response:
        chat = self.served.chat
        assert chat is not None

        async def respond() -> Response:
            body = await self._body(request)
            if body.get("stream") if isinstance(body, dict) else False:
                return self._streamed(chat, body)
            answer = await self.engine.result(chat.job(body), self.served.limits.seconds)
            message = {"role": "assistant", "content": answer.text}
            choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason, "logprobs": None}
            return JSONResponse(
                {
                    "id": answer.id,
                    "object": "chat.completion",
                    "created": answer.created,
                    "model": chat.name,
                    "choices": [choice],
                    "usage": answer.usage,
                }
            )

        return await self._guarded(request, respond)

    def _streamed(self, chat: ServedChat, body: dict[str, Any]) -> Response:
        """Return an answer that is sent as it comes; it is refused before its first byte where it must wait in vain."""
        loop = asyncio.get_running_loop()
        texts: asyncio.Queue[str | None] = asyncio.Queue()

        def put(text: str) -> None:
            loop.call_soon_threadsafe(texts.put_nowait, text)

        job = chat.job(body, put)
        self.engine.submit(job)
        job.future.add_done_callback(lambda _: loop.call_soon_threadsafe(texts.put_nowait, None))
        options = body.get("stream_options")
        with_usage = isinstance(options, dict) and bool(options.get("include_usage"))
        events = _events(chat.name, job, texts, self.served.limits.seconds, with_usage=with_usage)
        return StreamingResponse(
            events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"}
        )

    async def _guarded(self, request: Request, respond: Callable[[], Awaitable[Response]]) -> Response:
        """Answer a request; stop its work when its client leaves, and say what went wrong with its status."""
        work = asyncio.ensure_future(respond())
        gone = asyncio.ensure_future(_gone(request, work))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
                return Response(status_code=499)
            return work.result()
        except _RefusedError as refused:
            return refused.response
        except ClientDisconnect:
            return Response(status_code=499)
        except tuple(kind for kind, _ in _STATUS) as error:
            status = next(status for kind, status in _STATUS if isinstance(error, kind))
            headers = {"Retry-After": "1"} if status == 429 else {}
            return refusal(status, error.message, error.hint, **headers)  # type: ignore[attr-defined]
        finally:
            work.cancel()
            gone.cancel()

    async def _body(self, request: Request) -> Any:
        """Return the JSON that was sent; what is too long or too slow is not read to its end."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        # Another type could be sent by a page in a browser to a server on the same machine.
        if kind != "application/json":
            raise _RefusedError(refusal(415, "send JSON.", "Content-Type: application/json"))
        most = self.served.limits.body_bytes
        too_long = _RefusedError(refusal(413, f"a request has at most {most:,} bytes.", Connection="close"))
        said = request.headers.get("content-length", "")
        if said.isdigit() and int(said) > _READ_TO_REFUSE * most:
            raise too_long
        data, received = bytearray(), 0
        try:
            async with asyncio.timeout(self.served.limits.seconds):
                async for part in request.stream():
                    received += len(part)
                    # Whoever is cut off while sending may never see why: a little more is read, and not kept.
                    if received > _READ_TO_REFUSE * most:
                        raise too_long
                    if received <= most:
                        data += part
        except TimeoutError:
            late = refusal(408, "the request did not come whole in its time.", Connection="close")
            raise _RefusedError(late) from None
        if received > most:
            raise too_long
        setattr(request.state, _READ, True)
        try:
            return json.loads(data, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise _RefusedError(refusal(400, f"that is not JSON: {error}.")) from None


_READ = "is_read"
_READ_TO_REFUSE = 16  # times the bytes that a request may have


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


async def _gone(request: Request, work: asyncio.Future[Response]) -> None:
    """Wait until a client has left; before its request is read, whoever reads it notices."""
    while not getattr(request.state, _READ, False):
        await asyncio.sleep(0.01)
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _events(
    model: str, job: Job, texts: asyncio.Queue[str | None], seconds: float, *, with_usage: bool
) -> AsyncIterator[str]:
    """Give an answer as server-sent events, in the shape of OpenAI's; a client that leaves ends the work."""
    from llmkit.serving.served_chat import ChatAnswer

    head = ChatAnswer()

    def event(**more: Any) -> str:
        chunk = {
            "id": head.id,
            "object": "chat.completion.chunk",
            "created": head.created,
            "model": model,
            **more,
        }
        return f"data: {json.dumps(chunk)}\n\n"

    def delta(finish_reason: str | None = None, **content: str) -> str:
        return event(
            choices=[{"index": 0, "delta": content, "finish_reason": finish_reason, "logprobs": None}]
        )

    try:
        async with asyncio.timeout(seconds):
            yield delta(role="assistant", content="")
            while (text := await texts.get()) is not None:
                yield delta(content=text)
            answer = await asyncio.wrap_future(job.future)
        yield delta(answer.finish_reason)
        if with_usage:
            yield event(choices=[], usage=answer.usage)
        yield "data: [DONE]\n\n"
    except TimeoutError:
        yield f"data: {json.dumps({'error': {'message': f'no answer within {seconds:g} seconds.', 'code': 504}})}\n\n"
    except ModelFailedError as error:
        yield f"data: {json.dumps({'error': {'message': error.message, 'code': 422}})}\n\n"
    finally:
        job.is_left = True
