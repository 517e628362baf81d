"""State shared by the handlers of all routes."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from gptoss_tui.harmony.messages import Effort
from gptoss_tui.server.errors import ApiError, invalid
from gptoss_tui.server.fields import Fields
from gptoss_tui.server.gate import Gate, Ticket
from gptoss_tui.server.host import EngineHost
from gptoss_tui.server.line import Client
from gptoss_tui.server.metrics import Metrics
from gptoss_tui.server.responses.run import Runs
from gptoss_tui.server.responses.store import ResponseStore
from gptoss_tui.server.sampling import Defaults
from gptoss_tui.server.stats import Stats
from gptoss_tui.server.toolbox import OwnTools


@dataclass(frozen=True, slots=True)
class Access:
    """What is known about a client: `key` is a digest of the API key, `address` the IP address."""

    key: str = ""
    address: str = ""


@dataclass(slots=True)
class Record:
    """What the log and the metrics report about a request, filled in while it runs.

    `complete`: a stream was sent completely, whatever the client did afterwards.
    """

    route: str = ""
    model: str = ""
    stream: bool = False
    complete: bool = False
    error: str = ""
    access: Access = Access()
    began: float = field(default_factory=time.monotonic)
    stats: list[Stats] = field(default_factory=list)

    def failed(self, error: ApiError) -> ApiError:
        """Record an error, including one that the client gets inside a stream that began successfully.

        Does not record the client's message, which may quote the request. The first name in `param` is always our own.
        """
        field = re.split(r"[.\[]", error.param or "", maxsplit=1)[0]
        self.error = error.code or " ".join(filter(None, (error.kind, field)))
        return error


@dataclass(slots=True)
class Service:
    """The engine, its queue, and state for all requests. `names` are the names of the model, its own name first.

    Without `store`, responses are not kept. `own` are the server's own tools, `runs` the responses in progress.
    `draining`: the server is shutting down and rejects new requests. `reading` is the number of bytes received of
    bodies that are not complete yet.
    """

    host: EngineHost
    gate: Gate
    names: tuple[str, ...]
    defaults: Defaults = field(default_factory=Defaults)
    effort: Effort = "medium"
    store: ResponseStore | None = None
    own: OwnTools = field(default_factory=OwnTools)
    metrics: Metrics = field(default_factory=Metrics)
    created: int = field(default_factory=lambda: int(time.time()))
    draining: bool = False
    reading: int = 0
    active: set[asyncio.Task[Any]] = field(default_factory=set)
    runs: Runs = field(default_factory=Runs)

    def model(self, fields: Fields) -> str:
        """The name of the model in a request, by default its own. Raises ApiError 404 for a model that is not here.

        Clients of Ollama append `:latest` to a name without a tag.
        """
        asked = fields.text("model")
        if not asked:
            return self.names[0]
        if asked not in self.names and asked.removesuffix(":latest") not in self.names:
            raise ApiError(
                404,
                f"The model {asked[:80]!r} does not exist here. This server has {self.names[0]!r}.",
                param="model",
                code="model_not_found",
            )
        return asked

    def storage(self, param: str) -> ResponseStore:
        """The store for responses. Raises ApiError if there is none; `param` is the field that needs it."""
        if self.store is None:
            raise invalid("This server stores no responses.", param)
        return self.store

    def admit(self, request: web.Request, fields: Fields) -> Ticket:
        """Admit a request. Raises ApiError 429 if there is no room, 503 if no request can be answered now."""
        if self.draining:
            raise ApiError(503, "The server is shutting down.", code="shutting_down", retry_after=5)
        self.host.loaded()
        access = record_of(request).access
        user = str(next((fields.values[n] for n in ("safety_identifier", "user") if fields.has(n)), ""))[:128]
        client = Client(f"{access.key} {access.address}", user) if access.key else Client(f"{access.address} {user}")
        return self.gate.admit(client)


SERVICE: Final = web.AppKey("service", Service)

_RECORD: Final = web.RequestKey("record", Record)


def record_of(request: web.Request) -> Record:
    """The record of a request."""
    record = request.get(_RECORD)
    if record is None:
        record = request[_RECORD] = Record()
    return record
