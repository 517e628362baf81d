"""The protocol between front end and worker: typed messages in length-prefixed JSON frames.

A frame is the length of its payload in four bytes, big-endian, followed by the payload, one JSON object. The front end
sends requests, the worker replies; every message carries the id of its request. The last reply to a `Load` is a
`Progress` that is done, to a `Generate` it is `Generated(Finished)`, to a `Score` it is `Done`, to an `Info` it is
`Described`; any of them can end with `Failed`. `Cancel` has no reply of its own: it makes its request end sooner.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptoss_tui import errors
from gptoss_tui.engine.constraint import Grammar, TokenAutomaton, TokenState
from gptoss_tui.engine.types import (
    EngineInfo,
    EngineSpec,
    Finished,
    GenerationEvent,
    LoadProgress,
    PrefillProgress,
    SamplingParams,
    ScoredPosition,
    Token,
    TokenBatch,
    Usage,
)
from gptoss_tui.errors import EngineError, GptOssError

MAX_FRAME_BYTES = 64 * 2**20
"""No valid message comes close: a prompt of 131,072 ids takes about 1 MiB, and scores are sent in `SCORE_CHUNK`s."""

SCORE_CHUNK = 1024

_LENGTH = struct.Struct(">I")


class ProtocolError(EngineError):
    """A malformed frame or message."""


@dataclass(frozen=True, slots=True)
class Load:
    """Load the model of `spec`, replacing the one that is loaded."""

    id: int
    spec: EngineSpec


@dataclass(frozen=True, slots=True)
class Generate:
    """Continue `token_ids`."""

    id: int
    token_ids: tuple[int, ...]
    params: SamplingParams


@dataclass(frozen=True, slots=True)
class Score:
    """Log-probabilities at every position of `token_ids` from `start` on."""

    id: int
    token_ids: tuple[int, ...]
    top: int
    start: int = 0


@dataclass(frozen=True, slots=True)
class Cancel:
    """End the generation or scoring `id` within one step, or before it starts if it is still waiting."""

    id: int


@dataclass(frozen=True, slots=True)
class Info:
    """Ask what is loaded. Answered immediately, even while a generation runs."""

    id: int


Request = Load | Generate | Score | Cancel | Info


@dataclass(frozen=True, slots=True)
class Progress:
    """A step of a load."""

    id: int
    progress: LoadProgress


@dataclass(frozen=True, slots=True)
class Generated:
    """An event of a generation."""

    id: int
    event: GenerationEvent


@dataclass(frozen=True, slots=True)
class Scored:
    """The next positions of a scoring, in order."""

    id: int
    positions: tuple[ScoredPosition, ...]


@dataclass(frozen=True, slots=True)
class Described:
    """What is loaded, or None."""

    id: int
    info: EngineInfo | None


@dataclass(frozen=True, slots=True)
class Done:
    """The request has succeeded."""

    id: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The request ended with an error, which keeps its class across the process boundary."""

    id: int
    error: GptOssError


Reply = Progress | Generated | Scored | Described | Done | Failed


def ends_request(reply: Reply) -> bool:
    """Whether this is the last reply to its request."""
    match reply:
        case Progress(progress=progress):
            return progress.done
        case Generated(event=event):
            return isinstance(event, Finished)
        case Scored():
            return False
        case _:
            return True


def encode_request(request: Request) -> bytes:
    """The frame of a request."""
    body: dict[str, Any] = {"type": type(request).__name__, "id": request.id}
    match request:
        case Load(spec=spec):
            body["spec"] = {**dataclasses.asdict(spec), "checkpoint": str(spec.checkpoint)}
        case Generate(token_ids=token_ids, params=params):
            body |= {"token_ids": token_ids, "params": _encode_params(params)}
        case Score(token_ids=token_ids, top=top, start=start):
            body |= {"token_ids": token_ids, "top": top, "start": start}
        case Cancel() | Info():
            pass
    return _frame(body)


def decode_request(payload: bytes) -> Request:
    """The request in a frame's payload. Raises ProtocolError."""
    try:
        body = json.loads(payload)
        request_id = int(body["id"])
        match body["type"]:
            case "Load":
                spec = body["spec"]
                return Load(request_id, EngineSpec(**{**spec, "checkpoint": Path(spec["checkpoint"])}))
            case "Generate":
                return Generate(request_id, tuple(body["token_ids"]), _decode_params(body["params"]))
            case "Score":
                return Score(request_id, tuple(body["token_ids"]), int(body["top"]), int(body["start"]))
            case "Cancel":
                return Cancel(request_id)
            case "Info":
                return Info(request_id)
            case other:
                raise ProtocolError(f"Unknown request {other!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"Malformed request: {error!r}") from error


def encode_reply(reply: Reply) -> bytes:
    """The frame of a reply."""
    body: dict[str, Any] = {"type": type(reply).__name__, "id": reply.id}
    match reply:
        case Progress(progress=progress):
            body["progress"] = dataclasses.asdict(progress)
        case Generated(event=event):
            body |= _encode_event(event)
        case Scored(positions=positions):
            body["positions"] = [(p.next, p.logprob, p.top) for p in positions]
        case Described(info=info):
            body["info"] = dataclasses.asdict(info) if info else None
        case Failed(error=error):
            body |= {"error": type(error).__name__, "message": error.message, "hint": error.hint}
        case Done():
            pass
    return _frame(body)


def decode_reply(payload: bytes) -> Reply:
    """The reply in a frame's payload. Raises ProtocolError."""
    try:
        body = json.loads(payload)
        request_id = int(body["id"])
        match body["type"]:
            case "Progress":
                progress = body["progress"]
                return Progress(request_id, LoadProgress(**{**progress, "info": _decode_info(progress["info"])}))
            case "Generated":
                return Generated(request_id, _decode_event(body))
            case "Scored":
                positions = (ScoredPosition(n, logprob, _pairs(top)) for n, logprob, top in body["positions"])
                return Scored(request_id, tuple(positions))
            case "Described":
                return Described(request_id, _decode_info(body["info"]))
            case "Done":
                return Done(request_id)
            case "Failed":
                return Failed(request_id, _decode_error(body))
            case other:
                raise ProtocolError(f"Unknown reply {other!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"Malformed reply: {error!r}") from error


def receive(sock: socket.socket) -> bytes | None:
    """Read the next frame of a blocking socket and return its payload; None if the other side is gone."""
    header = _receive_exactly(sock, _LENGTH.size)
    return _receive_exactly(sock, _payload_length(header)) if header else None


async def read(reader: asyncio.StreamReader) -> bytes | None:
    """Read the next frame of a stream and return its payload; None if the other side is gone."""
    try:
        header = await reader.readexactly(_LENGTH.size)
        return await reader.readexactly(_payload_length(header))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def _receive_exactly(sock: socket.socket, count: int) -> bytes | None:
    chunks = []
    while count:
        chunk = sock.recv(min(count, 2**20))
        if not chunk:
            return None
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)


def _payload_length(header: bytes) -> int:
    (length,) = _LENGTH.unpack(header)
    if length > MAX_FRAME_BYTES:
        raise ProtocolError(f"A frame of {length} bytes is above the limit of {MAX_FRAME_BYTES}")
    return int(length)


def _frame(body: dict[str, Any]) -> bytes:
    payload = json.dumps(body, separators=(",", ":")).encode()
    return _LENGTH.pack(len(payload)) + payload


def _pairs(values: list[Any]) -> tuple[tuple[int, float], ...]:
    return tuple((token_id, logprob) for token_id, logprob in values)


def _encode_params(params: SamplingParams) -> dict[str, Any]:
    values = {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}
    if (automaton := params.constraint) is not None:
        states = [(list(s.following.items()), s.text, s.grammar) for s in automaton.states]
        grammars = [(grammar.kind, grammar.text) for grammar in automaton.grammars]
        values["constraint"] = [states, automaton.start, grammars, automaton.written]
    return values


def _decode_constraint(value: list[Any] | None) -> TokenAutomaton | None:
    if value is None:
        return None
    states, start, grammars, written = value
    return TokenAutomaton(
        tuple(TokenState(dict(following), text, grammar) for following, text, grammar in states),
        start,
        tuple(Grammar(kind, text) for kind, text in grammars),
        tuple(written),
    )


def _decode_params(values: dict[str, Any]) -> SamplingParams:
    stop = tuple(values.pop("stop_token_ids"))
    bias = {int(token_id): weight for token_id, weight in values.pop("logit_bias").items()}
    constraint = _decode_constraint(values.pop("constraint"))
    return SamplingParams(**values, stop_token_ids=stop, logit_bias=bias, constraint=constraint)


def _decode_info(values: dict[str, Any] | None) -> EngineInfo | None:
    return EngineInfo(**{**values, "kept_prefixes": tuple(values["kept_prefixes"])}) if values else None


def _encode_event(event: GenerationEvent) -> dict[str, Any]:
    match event:
        case TokenBatch(tokens=tokens):
            return {"tokens": [(t.id, t.logprob, t.top) for t in tokens]}
        case PrefillProgress():
            return {"prefill": dataclasses.asdict(event)}
        case Finished():
            return {"finished": dataclasses.asdict(event)}


def _decode_event(body: dict[str, Any]) -> GenerationEvent:
    if "tokens" in body:
        return TokenBatch(tuple(Token(token_id, logprob, _pairs(top)) for token_id, logprob, top in body["tokens"]))
    if "prefill" in body:
        return PrefillProgress(**body["prefill"])
    finished = body["finished"]
    return Finished(finished["reason"], Usage(**finished["usage"]))


def _decode_error(body: dict[str, Any]) -> GptOssError:
    cls = getattr(errors, body["error"], None)
    if not (isinstance(cls, type) and issubclass(cls, GptOssError)):
        cls = EngineError
    return cls(body["message"], hint=body["hint"])
