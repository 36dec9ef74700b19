"""The routes: a page for people at /, the same as JSON at /search and /ask, and /healthz for those who watch.

Made for one machine and one user. It answers requests that name this machine only (a page elsewhere cannot reach it
by a name of its own that leads here), none that another site's page makes, and none larger than LARGEST.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from minibert.data import parse_json
from minibert.retrieval.chat import GenerationError
from minibert.retrieval.rag import Answer
from minibert.retrieval.schema import StoreError
from minibert.web import page
from minibert.web.forms import Query, read_query
from minibert.web.service import Found, Service

LARGEST = 1 << 16  # bytes of a request's head, and of its body
SLOWEST = 30  # seconds that a body may take
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Refusal(ValueError):
    """A request that is refused with this status."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def application(service: Service, hosts: tuple[str, ...] = ("127.0.0.1", "localhost")) -> Starlette:
    """The application over this service, for requests whose Host is one of `hosts`."""

    async def show(request: Request) -> Response:
        fields = dict(request.query_params)
        if not fields:
            return HTMLResponse(page.search_page(service, fields))

        def answer() -> Response:
            try:
                found = service.search(_read_once(request))
                return HTMLResponse(page.search_page(service, fields, found))
            except ValueError as error:
                return HTMLResponse(page.search_page(service, fields, error=str(error)), _status(error))

        return await run_in_threadpool(answer)

    async def document(request: Request) -> Response:
        id, places = request.query_params.get("id", ""), [request.query_params.get(n, "0") for n in ("start", "end")]
        if not all(place.isascii() and place.isdigit() and len(place) < 12 for place in places):
            return HTMLResponse(page.message_page(service, "start, end: expected whole numbers"), 400)
        found = await run_in_threadpool(service.document, id)
        if found is None:
            return HTMLResponse(page.message_page(service, f"no document {id!r:.80}"), 404)
        return HTMLResponse(page.document_page(service, found, (int(places[0]), int(places[1]))))

    async def search(request: Request) -> Response:
        return await _as_json(request, lambda query: found_as_json(service.search(query)))

    async def ask(request: Request) -> Response:
        return await _as_json(request, lambda query: answer_as_json(service.answer(query)))

    async def health(request: Request) -> Response:
        try:
            count = await run_in_threadpool(service.count)
        except StoreError as error:
            return JSONResponse({"status": "failing", "error": str(error)}, 503)
        return JSONResponse({"status": "ok", "documents": count, "encoder": service.fingerprint})

    async def style(request: Request) -> Response:
        return Response(page.STYLE, media_type="text/css")

    routes = [
        Route("/", show),
        Route("/document", document),
        Route("/style.css", style),
        Route("/search", search, methods=["GET", "POST"]),
        Route("/ask", ask, methods=["GET", "POST"]),
        Route("/healthz", health),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(_Guard), Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
    )


def serve(service: Service, host: str, port: int) -> None:
    """Answer requests until interrupted. Says where it listens, which for port 0 the system chooses.

    Raises   OSError: the port is taken, or the address is not this machine's
    """
    with socket.create_server((host, port)) as listener:
        print(f"http://{host}:{listener.getsockname()[1]}/  (Ctrl-C to stop)", flush=True)
        app = application(service, (host, "127.0.0.1", "localhost"))
        uvicorn.Server(configuration(app)).run(sockets=[listener])


def configuration(app: Starlette) -> uvicorn.Config:
    """How uvicorn runs the application: its parser of requests refuses a head larger than LARGEST."""
    options = {"http": "h11", "ws": "none", "lifespan": "off", "log_level": "warning", "server_header": False}
    return uvicorn.Config(app, **options, limit_concurrency=200, h11_max_incomplete_event_size=LARGEST)


async def _as_json(request: Request, answer: Callable[[Query], dict[str, Any]]) -> Response:
    """The answer to a query of the address, or of a JSON body."""
    try:
        query = read_query(await _body(request)) if request.method == "POST" else _read_once(request)
        return JSONResponse(await run_in_threadpool(answer, query))
    except ValueError as error:
        return JSONResponse({"error": str(error)}, _status(error))


def _read_once(request: Request) -> Query:
    """The query of the address; a field given twice is refused."""
    if len(request.query_params.multi_items()) != len(request.query_params):
        raise ValueError("expected each field once, got one of them twice")
    return read_query(request.query_params)


async def _body(request: Request) -> Any:
    """The JSON of a request's body, read no further than LARGEST."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "expected a body of type application/json")
    try:
        body = await asyncio.wait_for(_read(request), SLOWEST)
    except asyncio.TimeoutError as error:  # noqa: UP041 — TimeoutError itself from Python 3.11 on
        raise Refusal(408, f"expected the body within {SLOWEST} seconds") from error
    try:
        return parse_json(body.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"expected a body in UTF-8, got byte 0x{body[error.start]:02x} at {error.start}") from error


async def _read(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            raise Refusal(413, f"expected a body of at most {LARGEST} bytes")
    return body


def _status(error: ValueError) -> int:
    if isinstance(error, Refusal):
        return error.status
    return 502 if isinstance(error, GenerationError) else 503 if isinstance(error, StoreError) else 400


def found_as_json(found: Found) -> dict[str, Any]:
    """Hits, best first, with what the page shows of each."""
    hits = [
        {**asdict(hit), "marked": marked, "best": best}
        for hit, marked, best in zip(found.hits, found.marked, found.best, strict=True)
    ]
    told: dict[str, Any] = {"question": found.query.q, "tokens": found.tokens, "hits": hits, "times": found.hits.times}
    if found.hits.matching is not None:
        told["matching"] = found.hits.matching
    if found.similarity is not None:
        told["similarity"] = found.similarity.tolist()
    if found.answer is not None:
        told["answer"] = answer_as_json(found.answer)
    return told


def answer_as_json(answer: Answer) -> dict[str, Any]:
    """The answer, what it cites, and what it was given."""
    citations = [
        {"number": cited.number, "id": cited.hit.id, "source": cited.hit.source, "span": cited.span, "text": cited.text}
        for cited in answer.citations
    ]
    return {**asdict(answer), "citations": citations}


class _Guard:
    """Refuses what another site's page asks for, and gives every answer the same headers."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send: Callable[[dict], Awaitable[None]]) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def send_guarded(message):
            if message["type"] == "http.response.start":
                extra = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        if dict(scope["headers"]).get(b"sec-fetch-site") in (b"cross-site", b"same-site"):
            return await PlainTextResponse("refused: another site asks", 403)(scope, receive, send_guarded)
        return await self.app(scope, receive, send_guarded)
