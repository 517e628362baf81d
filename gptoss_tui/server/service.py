"""What the handlers of all routes share."""

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
    """What is known of who asks: `key` is a digest of the API key, `address` where from."""

    key: str = ""
    address: str = ""


@dataclass(slots=True)
class Record:
    """What the log and the metrics say of a request, filled in while it runs.

    `complete`: all of a stream was sent, whatever the client did then.
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
        """Note what went wrong, also where the client hears of it in a stream that began well.

        Not in the words that the client hears: those may quote what it sent. The first name of a path is one of ours.
        """
        field = re.split(r"[.\[]", error.param or "", maxsplit=1)[0]
        self.error = error.code or " ".join(filter(None, (error.kind, field)))
        return error


@dataclass(slots=True)
class Service:
    """The engine, its queue, and what holds for all requests. `names` are what the model answers to, the first its own.

    Without `store` responses are not kept. `own` are tools of the server's own, `runs` the responses that are made now.
    `draining`: the server is about to end and takes nothing new. `reading` are bytes of bodies that are still coming.
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
        """The model that a request names, or the only one. Raises ApiError 404 when it is another one.

        Clients of Ollama say `:latest` behind a name without a tag.
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
        """Where responses are kept. Raises ApiError when they are not, and `param` needs them."""
        if self.store is None:
            raise invalid("This server stores no responses.", param)
        return self.store

    def admit(self, request: web.Request, fields: Fields) -> Ticket:
        """Let a request in. Raises ApiError 429 when there is no room, 503 when nothing can be answered now."""
        if self.draining:
            raise ApiError(503, "The server is shutting down.", code="shutting_down", retry_after=5)
        _ = self.host.ready
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
