"""The application: its routes, and the middleware for every request."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gptoss_tui import __version__
from gptoss_tui.errors import EngineDiedError
from gptoss_tui.server import completions, guard
from gptoss_tui.server.body import MAX_BYTES
from gptoss_tui.server.chat.handler import create_completion
from gptoss_tui.server.errors import ApiError, as_api_error
from gptoss_tui.server.metrics import CONTENT_TYPE
from gptoss_tui.server.ollama import handler as ollama
from gptoss_tui.server.ollama import models as ollama_models
from gptoss_tui.server.outbox import encode
from gptoss_tui.server.responses import handler as responses
from gptoss_tui.server.responses import lookup
from gptoss_tui.server.service import SERVICE, Record, Service, record_of

ACCESS_LOG = logging.getLogger("gptoss_tui.server.access")

_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Api-Key",
}


def build_app(service: Service, rules: guard.Rules) -> web.Application:
    """Build the application for a service. Its runner must cancel handlers whose client has disconnected."""
    app = web.Application(client_max_size=MAX_BYTES, middlewares=[_observe(service), _answer_errors, _guard(rules)])
    app[SERVICE] = service
    app.on_response_prepare.append(_tell_pages(rules))
    app.add_routes(
        [
            web.get("/", ollama_models.root),
            web.get("/health", health),
            web.get("/metrics", metrics),
            web.get("/v1/models", models),
            web.get("/v1/models/{model:.+}", model),
            web.post("/v1/chat/completions", create_completion),
            web.post("/v1/completions", completions.create_completion),
            web.post("/v1/responses", responses.create_response),
            web.post("/v1/responses/input_tokens", responses.count_tokens),
            web.get("/v1/responses/{id}", lookup.get_response),
            web.delete("/v1/responses/{id}", lookup.delete_response),
            web.post("/v1/responses/{id}/cancel", lookup.cancel_response),
            web.get("/v1/responses/{id}/input_items", lookup.list_input_items),
            web.post("/api/chat", ollama.chat),
            web.post("/api/generate", ollama.generate),
            web.get("/api/tags", ollama_models.tags),
            web.get("/api/ps", ollama_models.ps),
            web.post("/api/show", ollama_models.show),
            web.get("/api/version", ollama_models.version),
        ]
    )
    return app


# -- on the way -------------------------------------------------------------------------------------------------------


def _observe(service: Service) -> Middleware:
    """Count each request and log one line about it: what was requested and what it cost, never its content."""

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        record = record_of(request)
        resource = request.match_info.route.resource
        record.route = resource.canonical if resource is not None else "none"
        status = 499  # widely used for: the client closed the connection
        task = asyncio.current_task()
        assert task is not None
        service.active.add(task)
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            status = 200 if record.complete else status
            service.active.discard(task)
            _account(service, record, status)
            ACCESS_LOG.info("%s", _line(request, record, status))

    return observe


def _account(service: Service, record: Record, status: int) -> None:
    metrics = service.metrics
    metrics.requests[record.route, status] += 1
    metrics.disconnects += status == 499
    for stats in record.stats:
        metrics.count(stats)
    if record.stats:
        metrics.seconds.observe(time.monotonic() - record.began)


def local_time() -> str:
    """The current time in the format of the log."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _line(request: web.Request, record: Record, status: int) -> str:
    """A log line as JSON: whatever a client sent is quoted, and it contains no secrets or prompts."""
    line = {
        "time": local_time(),
        "client": record.access.key or record.access.address,
        "method": request.method,
        "route": record.route,
        "status": status,
        "seconds": round(time.monotonic() - record.began, 3),
    }
    if record.stats:
        first = record.stats[0]
        line |= {
            "model": record.model,
            "stream": record.stream,
            "prompt": first.prompt_tokens,
            "cached": first.cached_tokens,
            "generated": sum(stats.generated_tokens for stats in record.stats),
            "waited": round(first.waited_seconds, 3),
            "first_token": None if first.first_token_seconds is None else round(first.first_token_seconds, 3),
        }
    if record.error:
        line["error"] = record.error
    return json.dumps(line)


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a response in the form of OpenAI's API."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        failure = _as_said(request, error)
    except ConnectionError:
        raise asyncio.CancelledError from None  # the client is gone, so nobody would get an answer
    except Exception as error:
        failure = as_api_error(error)
    return error_response(record_of(request).failed(failure), plain=request.path.startswith("/api/"))


def _as_said(request: web.Request, error: web.HTTPException) -> ApiError:
    """An error of the router, in the API's words."""
    if error.status == 404:
        return ApiError(404, f"Unknown request URL: {request.method} {request.path[:200]}.", code="unknown_url")
    if error.status == 405:
        return ApiError(405, f"{request.method} is not allowed for {request.path[:200]}.")
    return ApiError(error.status, error.reason)


def error_response(error: ApiError, *, plain: bool = False) -> web.Response:
    """The response for an error; `plain` in the form that Ollama uses."""
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = encode({"error": error.message} if plain else error.body())
    return web.Response(body=body, status=error.status, headers=headers, content_type="application/json")


def _guard(rules: guard.Rules) -> Middleware:
    """Admit only allowed requests."""

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        # A preflight has no key: with it the browser asks whether the page may send one.
        path = "/health" if preflight else request.path
        record_of(request).access = guard.check(rules, path, request.headers, request.remote or "")
        return web.Response(status=204, headers=_PREFLIGHT) if preflight else await handler(request)

    return admit


def _tell_pages(rules: guard.Rules) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Let pages of an allowed origin read responses, including errors."""

    async def tell(request: web.Request, response: web.StreamResponse) -> None:
        origin = request.headers.get("Origin", "")
        if origin.lower() in rules.origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"
        response.headers["Server"] = f"gptoss-tui/{__version__}"

    return tell


# -- small routes -----------------------------------------------------------------------------------------------------


async def health(request: web.Request) -> web.Response:
    """200 if requests can be answered, else 503."""
    service = request.app[SERVICE]
    state = "draining" if service.draining else service.host.state
    body = {"status": "ok" if state == "ready" else state, "model": service.names[0], "version": __version__}
    return web.json_response(body, status=200 if state == "ready" else 503)


async def metrics(request: web.Request) -> web.Response:
    """The metrics for Prometheus."""
    service = request.app[SERVICE]
    info = service.host.info
    try:
        now = (info and await service.host.engine.info()) or info
    except EngineDiedError:  # the next request restarts it
        now = info
    lines = service.metrics.lines(
        [
            ("slots", "Generations that can run at a time.", service.gate.slots),
            ("running", "Generations that run.", service.gate.running),
            ("waiting", "Generations that wait for the engine.", service.gate.waiting),
            ("inside", "Requests in the queue or running.", service.gate.inside),
            ("capacity", "Requests that may be in the queue or running.", service.gate.capacity),
            ("ready", "Whether the engine is loaded.", float(info is not None)),
            ("engine_restarts", "How often the engine died and was started again.", service.host.restarts),
            ("context_tokens", "The length of the context.", info.context if info else 0),
            ("parked_conversations", "Conversations whose keys and values wait.", now.parked if now else 0),
            ("parked_bytes", "Memory that they take.", now.parked_bytes if now else 0),
            ("parked_limit_bytes", "Memory that they may take.", now.parked_limit if now else 0),
        ]
    )
    return web.Response(body="\n".join((*lines, "")).encode(), headers={"Content-Type": CONTENT_TYPE})


async def models(request: web.Request) -> web.Response:
    """The model under all of its names."""
    service = request.app[SERVICE]
    return web.json_response({"object": "list", "data": [_model(service, name) for name in service.names]})


async def model(request: web.Request) -> web.Response:
    """One model."""
    service = request.app[SERVICE]
    name = request.match_info["model"]
    if name not in service.names:
        raise ApiError(404, f"The model {name[:80]!r} does not exist here.", param="model", code="model_not_found")
    return web.json_response(_model(service, name))


def _model(service: Service, name: str) -> dict[str, object]:
    described: dict[str, object] = {"id": name, "object": "model", "created": service.created, "owned_by": "gptoss-tui"}
    if service.host.info is not None:
        described["context_length"] = service.host.info.context
        described["max_model_len"] = service.host.info.context
    return described
