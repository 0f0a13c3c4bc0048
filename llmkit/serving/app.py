"""The application that a server runs: a path for each task, those of OpenAI's shape, health, figures, documentation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from llmkit._version import __version__
from llmkit.serving.counted import CONTENT_TYPE, Counted
from llmkit.serving.description import description, page
from llmkit.serving.engine import BusyError, Engine, Job, LateError
from llmkit.serving.limits import Answer, Application, Gate, HostCheck, refusal
from llmkit.serving.request_body import Bodies, RefusedError, is_read
from llmkit.serving.served_answers import MediaAnswer
from llmkit.serving.served_chat import ServedChat, wants_stream
from llmkit.serving.served_encoder import ServedEncoder
from llmkit.serving.served_tasks import ModelFailedError, ServedTask
from llmkit.serving.task_requests import BadRequestError

_TEXT_BYTES, _MEDIA_BYTES = 1 << 20, 16 << 20

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
        body_bytes: of a request; None takes as many as images or sound need where they are served, else as texts do.
        waiting: requests that may wait for a model.
        seconds: that an answer may take; sending a request has as many.
    """

    body_bytes: int | None = None
    waiting: int = 256
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Served:
    """What a server serves, all of it loaded."""

    tasks: Sequence[ServedTask] = ()
    encoder: ServedEncoder | None = None
    chat: ServedChat | None = None
    limits: Limits = field(default_factory=Limits)


def application(
    served: Served, engine: Engine, token: str | None = None, names: frozenset[str] | None = None
) -> Application:
    """Return the ASGI application.

    Args:
        token: what requests must carry; None where nothing is wanted.
        names: those that it answers to; None for any.
    """
    server = _Server(served, engine)
    routes = server.routes()
    paths = {route.path for route in routes}
    app: Application = Starlette(
        routes=routes, exception_handlers={404: _not_there, 405: _not_so, 500: _at_fault}
    )
    if names is not None:
        app = HostCheck(app, names)
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
        most = served.limits.body_bytes
        if most is None:
            most = _MEDIA_BYTES if any(task.takes_media for task in served.tasks) else _TEXT_BYTES
        self._bodies = Bodies(most, served.limits.seconds)
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
            Route(path, self._task(task), methods=["POST"])
            for task in self.served.tasks
            for path in task.paths
        ]
        if self.served.encoder is not None:
            routes.append(Route("/v1/embeddings", self._embeddings, methods=["POST"]))
        if self.served.chat is not None:
            routes.append(Route("/v1/chat/completions", self._chat, methods=["POST"]))
        return routes

    # -- what only tells

    async def _health(self, request: Request) -> Response:
        return Answer({"status": "ok", "llmkit": __version__, "waiting": self.engine.waiting})

    async def _metrics(self, request: Request) -> Response:
        return PlainTextResponse(self.counted.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _openapi(self, request: Request) -> Response:
        return Answer(self._description)

    async def _docs(self, request: Request) -> Response:
        return HTMLResponse(page(self._description))

    async def _models(self, request: Request) -> Response:
        models = [each for each in (self.served.encoder, self.served.chat) if each is not None]
        data = [{"id": each.name, "object": "model", "created": 0, "owned_by": "llmkit"} for each in models]
        return Answer({"object": "list", "data": data})

    # -- what computes

    def _task(self, task: ServedTask) -> Callable[[Request], Awaitable[Response]]:
        seconds = self.served.limits.seconds

        async def answer(request: Request) -> Response:
            async def respond() -> Response:
                body = await self._bodies.read(request, takes_bytes=task.takes_bytes)
                # A megabyte in base64 holds everybody up for as long as it is read.
                job = await asyncio.to_thread(task.job, body) if task.takes_media else task.job(body)
                values = await self.engine.result(job, seconds)
                as_file = "json" not in request.headers.get("accept", "")
                found = await asyncio.to_thread(task.answer, body, values, as_file=as_file)
                if isinstance(found, MediaAnswer):
                    return Response(found.data, media_type=found.kind)
                return Answer(found)

            return await self._guarded(request, respond)

        return answer

    async def _embeddings(self, request: Request) -> Response:
        encoder = self.served.encoder
        assert encoder is not None

        async def respond() -> Response:
            body = await self._bodies.read(request)
            values = await self.engine.result(encoder.job(body), self.served.limits.seconds)
            return Answer(await asyncio.to_thread(encoder.answer, body, values))

        return await self._guarded(request, respond)

    async def _chat(self, request: Request) -> Response:
        chat = self.served.chat
        assert chat is not None

        async def respond() -> Response:
            body = await self._bodies.read(request)
            if wants_stream(body):
                return self._streamed(chat, body)
            answer = await self.engine.result(chat.job(body), self.served.limits.seconds)
            message = {"role": "assistant", "content": answer.text}
            choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason, "logprobs": None}
            return Answer(
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
        events = _events(
            chat.name, job, texts, self.served.limits.seconds, self.engine, with_usage=with_usage
        )
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
        except RefusedError as refused:
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
            self._bodies.let_go(request)


async def _gone(request: Request, work: asyncio.Future[Response]) -> None:
    """Wait until a client has left; before its request is read, whoever reads it notices."""
    while not is_read(request):
        await asyncio.sleep(0.01)
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _events(
    model: str,
    job: Job,
    texts: asyncio.Queue[str | None],
    seconds: float,
    engine: Engine,
    *,
    with_usage: bool,
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
        engine.leave(job)
