"""Every message survives the border; wild bytes do not become one."""

from __future__ import annotations

import asyncio
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptoss_tui import errors
from gptoss_tui.engine.types import (
    EngineInfo,
    EngineSpec,
    Finished,
    LoadProgress,
    PrefillProgress,
    SamplingParams,
    ScoredPosition,
    Token,
    TokenBatch,
    Usage,
)
from gptoss_tui.engine.worker import protocol
from gptoss_tui.engine.worker.protocol import (
    Cancel,
    Described,
    Done,
    Failed,
    Generate,
    Generated,
    Info,
    Load,
    Progress,
    ProtocolError,
    Score,
    Scored,
)

INFO = EngineInfo("nano", "torch", "cpu", "bfloat16", 4, 8, 201_088, 4096, 10**9, 7, ("a", "b"))
PARAMS = SamplingParams(0.5, 0.9, 40, 0.01, 7, 100, (200_002, 200_012), {5: -1.5, 6: 2.0}, 3)
NEGATIVE_INFINITY = float("-inf")

REQUESTS = [
    Load(1, EngineSpec(Path("/models/a b"), "torch", "float32", "cuda:0", 4096, 2, "a b")),
    Load(2, EngineSpec(Path("/models/ü"))),
    Generate(3, (1, 2, 200_000), PARAMS),
    Generate(4, (), SamplingParams()),
    Score(5, (1, 2), 5),
    Cancel(6),
    Info(7),
]
REPLIES = [
    Progress(1, LoadProgress("reading", 0.5)),
    Progress(1, LoadProgress("ready", 1.0, True, INFO)),
    Generated(2, PrefillProgress(10, 5, 2)),
    Generated(2, TokenBatch((Token(5, -0.25, ((5, -0.25), (6, NEGATIVE_INFINITY))), Token(6, -1.0)))),
    Generated(2, Finished("stop", Usage(1, 2, 3, 4, 0.5, 0.25))),
    Scored(3, (ScoredPosition(5, -0.5, ((1, -0.1),)), ScoredPosition(None, None, ()))),
    Described(4, INFO),
    Described(4, None),
    Done(5),
]


def payload(frame: bytes) -> bytes:
    (length,) = struct.unpack(">I", frame[:4])
    assert len(frame) == 4 + length
    return frame[4:]


@pytest.mark.parametrize("request_", REQUESTS, ids=repr)
def test_requests_survive(request_: protocol.Request) -> None:
    assert protocol.decode_request(payload(protocol.encode_request(request_))) == request_


@pytest.mark.parametrize("reply", REPLIES, ids=repr)
def test_replies_survive(reply: protocol.Reply) -> None:
    assert protocol.decode_reply(payload(protocol.encode_reply(reply))) == reply


def error_classes() -> list[type[errors.GptOssError]]:
    found = vars(errors).values()
    return [c for c in found if isinstance(c, type) and issubclass(c, errors.GptOssError)]


@pytest.mark.parametrize("cls", error_classes())
def test_errors_keep_class_message_and_hint(cls: type[errors.GptOssError]) -> None:
    reply = protocol.decode_reply(payload(protocol.encode_reply(Failed(1, cls("what", hint="do")))))
    assert isinstance(reply, Failed)
    assert type(reply.error) is cls
    assert (reply.error.message, reply.error.hint) == ("what", "do")


def test_an_error_class_of_another_module_becomes_an_engine_error() -> None:
    reply = protocol.decode_reply(payload(protocol.encode_reply(Failed(1, ProtocolError("what")))))
    assert isinstance(reply, Failed)
    assert type(reply.error) is errors.EngineError


@given(st.binary(max_size=200))
def test_wild_payloads_are_protocol_errors(data: bytes) -> None:
    for decode in (protocol.decode_request, protocol.decode_reply):
        with pytest.raises(ProtocolError):
            decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"1",
        b'{"id": 1}',
        b'{"id": null, "type": "Info"}',
        b'{"id": 1, "type": "Explode"}',
        b'{"id": 1, "type": "Generate", "token_ids": 5, "params": {}}',
        b'{"id": 1, "type": "Generated", "tokens": [[1]]}',
        b'{"id": 1, "type": "Generated"}',
        b'{"id": 1, "type": "Load", "spec": {"checkpoint": "/x", "colour": "red"}}',
    ],
)
def test_near_misses_are_protocol_errors(data: bytes) -> None:
    for decode in (protocol.decode_request, protocol.decode_reply):
        with pytest.raises(ProtocolError):
            decode(data)


def test_a_socket_gives_whole_frames_and_then_none() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        frame = protocol.encode_request(Generate(1, tuple(range(1000)), SamplingParams()))
        ours.sendall(frame + frame[:-1])
        ours.close()
        assert protocol.receive(theirs) == payload(frame)
        assert protocol.receive(theirs) is None


async def test_a_stream_gives_whole_frames_and_then_none() -> None:
    reader = asyncio.StreamReader()
    frame = protocol.encode_reply(Done(1))
    reader.feed_data(frame + frame[:3])
    reader.feed_eof()
    assert await protocol.read(reader) == payload(frame)
    assert await protocol.read(reader) is None


def test_a_frame_above_the_limit_is_refused_before_it_is_read() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(struct.pack(">I", protocol.MAX_FRAME_BYTES + 1))
        with pytest.raises(ProtocolError, match="above the limit"):
            protocol.receive(theirs)
