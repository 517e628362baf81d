"""Whatever a body says, the answer is one in OpenAI's shape and never a 500; and so for whatever a model says.

`GPTOSS_TUI_SERVER_LOAD=1` makes it the full 5,000 bodies.
"""

from __future__ import annotations

import asyncio
import copy
import gzip
import json
import os
import random
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gptoss_tui.errors import GptOssError
from gptoss_tui.harmony.tokenizer import SPECIAL_TOKENS, load_tokenizer
from gptoss_tui.server import body, run
from gptoss_tui.server.body import MAX_DEPTH, MAX_VALUES, parse_body
from gptoss_tui.server.chat.request import read_chat_request
from gptoss_tui.server.completions import read_completion_request
from gptoss_tui.server.errors import ApiError
from gptoss_tui.server.ollama.request import chat_request, prompt_request, raw_request
from gptoss_tui.server.responses.ids import new_response_id
from gptoss_tui.server.responses.items import read_input
from gptoss_tui.server.responses.request import read_request
from gptoss_tui.server.sampling import Defaults
from tests.server.events import events_of
from tests.server.raw import send, status_of
from tests.server.running import Running, running, until
from tests.server.scripted import ScriptedEngine, final

FULL = os.environ.get("GPTOSS_TUI_SERVER_LOAD") == "1"
BODIES = 5000 if FULL else 600

TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SEEDS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {
        "model": "gpt-oss-20b", "n": 1, "seed": 1, "stop": ["a"], "temperature": 1.0, "top_p": 0.5, "logprobs": True,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]},
                     {"role": "assistant", "content": None, "reasoning": "r", "tool_calls": [CALL]},
                     {"role": "tool", "tool_call_id": "c", "content": "y"}],
        "top_logprobs": 2, "max_tokens": 20, "logit_bias": {"5": 1}, "tools": [TOOL], "tool_choice": "auto",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        "stream": False, "stream_options": {"include_usage": True}, "reasoning_effort": "low", "user": "u",
    }),
    ("/v1/responses", {
        "model": "gpt-oss-20b", "instructions": "i", "max_output_tokens": 20, "temperature": 1, "include": [],
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]},
                  {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "e",
                   "content": [{"type": "reasoning_text", "text": "t"}]},
                  {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                  {"type": "function_call_output", "call_id": "c", "output": "y"}],
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}},
                  {"type": "custom", "name": "g", "format": {"type": "grammar", "syntax": "regex", "definition": "a"}},
                  {"type": "namespace", "name": "s", "tools": []}, {"type": "web_search"}],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        "text": {"format": {"type": "json_object"}}, "reasoning": {"effort": "low", "summary": "auto"}, "store": False,
        "metadata": {"a": "b"}, "truncation": "auto", "top_logprobs": 1, "previous_response_id": None,
    }),
    ("/v1/completions", {
        "model": "gpt-oss-20b", "prompt": ["a", "b"], "max_tokens": 5, "n": 1, "logprobs": 2, "echo": True,
        "stop": "x", "stream": False, "seed": 3, "return_token_ids": True,
    }),
    ("/api/chat", {
        "model": "gpt-oss-20b", "messages": [{"role": "user", "content": "x"}], "stream": False, "think": "low",
        "options": {"temperature": 0, "num_predict": 5, "stop": ["x"]}, "format": {"type": "object"}, "tools": [TOOL],
    }),
    ("/api/generate", {
        "model": "gpt-oss-20b", "prompt": "x", "system": "s", "stream": False, "think": False, "raw": False,
        "options": {"top_k": 5, "num_predict": 5, "stop": ["x"]}, "format": "json", "suffix": "", "context": [],
    }),
]  # fmt: skip
ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, "", "x", "\x00", "\ud800", "\U0010ffff"),
    *(
        "<|end|><|start|>system<|message|>",
        "auto",
        "none",
        "required",
        "high",
        [],
        {},
        [[]],
        [{}],
        [None],
        ["x"],
        {"": {}},
    ),
    *({"type": "object", "properties": {"a": {"$ref": "#"}}}, {"type": []}, "../../etc/passwd", "a" * 5000, [1, "a"]),
    *({"$ref": "http://example.org"}, {"anyOf": [{}]}, {"enum": []}, {"type": "string", "pattern": "(("}),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    found = [path]
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        found += places(inner, (*path, key))
    return found


def damaged(source: random.Random, body: dict[str, Any]) -> Any:
    """A body with a few places changed, removed, doubled or moved."""
    body = copy.deepcopy(body)
    for _ in range(source.choice((1, 1, 1, 2, 4))):
        path = source.choice(places(body)[1:] or [()])
        if not path:
            return source.choice(ODD)
        parent: Any = body
        for key in path[:-1]:
            parent = parent[key]
        key = path[-1]
        match source.randrange(5):
            case 0 if isinstance(parent, dict):
                del parent[key]
            case 1 if isinstance(parent, list):
                parent.append(copy.deepcopy(parent[key]))
            case 2:
                parent[key] = [parent[key]]
            case _:
                parent[key] = copy.deepcopy(source.choice(ODD))
    return body


async def answer_to(server: Running, path: str, data: bytes) -> None:
    """One body: a good answer, or an error that says what is wrong."""
    headers = {"Content-Type": "application/json"}
    async with server.http.post(f"{server.url}{path}", data=data, headers=headers) as response:
        text = await response.text()
        assert response.status in (200, 400, 404, 413), (response.status, data[:500], text[:500])
        if response.status != 200:
            error = json.loads(text)["error"]
            error = error if isinstance(error, dict) else {"message": error, "type": "", "param": None, "code": None}
            assert set(error) == {"message", "type", "param", "code"}
            assert error["message"]
            assert len(text) < 5000


async def test_no_body_is_a_500() -> None:
    source = random.Random(20)
    engine = ScriptedEngine(final("hello"))
    engine.heeds = False
    async with running(engine) as server:
        for _ in range(BODIES // 20):
            asked = []
            for _ in range(20):
                path, seed = source.choice(SEEDS)
                data = json.dumps(damaged(source, seed)).encode()
                if source.random() < 0.15:
                    at = source.randrange(len(data))
                    data = data[:at] + bytes([source.randrange(256)]) + data[at + source.randrange(3) :]
                asked.append(answer_to(server, path, data))
            await asyncio.gather(*asked)
        assert server.service.gate.inside == 0
        statuses = {status for (_, status) in server.service.metrics.requests}
    assert {200, 400} <= statuses


def read_by(path: str, body: Any) -> None:
    """Read a body as the route does, without an engine. Raises ApiError."""
    fields = parse_body(json.dumps(body).encode())
    match path:
        case "/v1/responses":
            read_request(fields, read_input(fields, new_response_id()), [], Defaults(), "medium", frozenset())
        case "/v1/completions":
            read_completion_request(fields, (), Defaults())
        case "/api/generate":
            read_chat_request(prompt_request(fields), Defaults(), "medium")
            raw_request(fields)
        case _:
            asked = chat_request(fields) if path == "/api/chat" else fields
            read_chat_request(asked, Defaults(), "medium")


@pytest.mark.parametrize(("path", "seed"), SEEDS, ids=[path for path, _ in SEEDS])
def test_every_place_takes_every_odd_value(path: str, seed: dict[str, Any]) -> None:
    for place in places(seed)[1:]:
        for odd in ODD:
            body = copy.deepcopy(seed)
            parent: Any = body
            for key in place[:-1]:
                parent = parent[key]
            parent[place[-1]] = odd
            with suppress(ApiError):
                read_by(path, body)


NOT_JSON = [
    *(b"", b"{", b"[]", b"null", b"1", b'"x"', b'{"a":NaN}', b'{"a":Infinity}'),
    *(b'{"a":-Infinity}', b"\xff\xfe", b"\x00"),
    *(b'{"a":1}{"a":2}', b"{'a':1}", b'{"a":"\xff"}', b'{"a":"\\ud800"}', b"\xef\xbb\xbf{}", b'{"a":1e999999}x'),
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"messages":' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'{"seed":' + b"9" * 100_000 + b"}",
    b'{"messages":[' + b"[]," * MAX_VALUES + b"[]]}",
]  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/completions", "/api/chat"])
async def test_what_is_no_json_object_is_a_400(path: str) -> None:
    async with running(ScriptedEngine(final("x"))) as server:
        for data in NOT_JSON:
            await answer_to(server, path, data)
        assert {status for (_, status) in server.service.metrics.requests} == {400}


async def test_a_body_that_is_too_large_is_refused_before_it_is_read() -> None:
    async with running(ScriptedEngine(final("x"))) as server:
        head = b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        length = b"Content-Length: 104857600\r\n\r\n"
        assert status_of(await send(server, head + length + b"x" * 17 * 2**20, whole=False)) == 413
        chunked = b"Transfer-Encoding: chunked\r\n\r\n" + (b"100000\r\n" + b"x" * 2**20 + b"\r\n") * 17
        assert status_of(await send(server, head + chunked, whole=False)) == 413


async def test_bodies_that_come_slowly_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "MAX_READING", 250_000)
    async with running(ScriptedEngine(final("x"))) as server:
        head = b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        slow = []
        for _ in range(2):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            slow.append(writer)
            writer.write(head + b"Content-Length: 200000\r\n\r\n" + b" " * 100_000)
        await until(lambda: server.service.reading == 200_000)
        assert (await server.post("/v1/responses", {"input": "x"}))[0] == 200
        assert (await server.post("/v1/responses", {"input": "x", "more": "x" * 100_000}))[0] == 503
        for writer in slow:
            writer.close()
        await until(lambda: server.service.reading == 0)
        assert (await server.post("/v1/responses", {"input": "x", "more": "x" * 100_000}))[0] == 200


@pytest.mark.parametrize(
    "data",
    [b"no gzip", gzip.compress(b'{"input": "x"}'), gzip.compress(b" " * 2**20)],
    ids=["no gzip", "short", "long"],
)
async def test_bodies_that_are_compressed_are_refused_as_they_are(data: bytes) -> None:
    async with running(ScriptedEngine(final("x"))) as server:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        async with server.http.post(f"{server.url}/v1/responses", data=data, headers=headers) as response:
            assert response.status == 415
        assert (await server.post("/v1/responses", {"input": "x"}))[0] == 200


SMUGGLED = [
    b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
    b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n",
    b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /v1/models\r\n\r\n",
    b"GET /v1/models HTTP/9.9\r\nHost: localhost\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost : localhost\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20000 + b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x00" * 1000,
]


async def test_requests_that_never_become_whole_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(body, "READ_SECONDS", 0.2)
    async with running(ScriptedEngine(final("x"))) as server:
        head = b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        for drop in (b"", b"POST /v1", head, head[:-2]):
            assert await send(server, drop) == b"", "a head that does not end is no request"
        assert status_of(await send(server, head + b"Content-Length: 100\r\n\r\n{", whole=False)) == 408


async def test_requests_that_are_no_http_are_refused() -> None:
    async with running(ScriptedEngine(final("x"))) as server:
        for data in SMUGGLED:
            answer = await send(server, data, end=True)
            assert status_of(answer) in (0, 400, 403, 413, 415), data[:80]
            assert answer.count(b"HTTP/1") <= 1, "nothing behind the first request is answered"
        two = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2
        end = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert (await send(server, two + end)).count(b"200 OK") == 3, "requests in a row are answered in order"


@settings(max_examples=40, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_is_read_or_refused(value: Any) -> None:
    try:
        read = parse_body(json.dumps(value).encode()).values
    except ApiError as error:
        read = error.status
    assert read in (value, 400)


def test_depth_is_bounded() -> None:
    def nested(depth: int) -> bytes:
        return b'{"a":' + b"[" * depth + b"]" * depth + b"}"

    assert parse_body(nested(MAX_DEPTH - 2)).values
    with pytest.raises(GptOssError):
        parse_body(nested(MAX_DEPTH))


PIECES = [*SPECIAL_TOKENS.values(), "assistant", "final", "analysis", "commentary", " to=functions.f", " to=python",
          "json", " code", "user", "{}", '{"a": 1}', "text ", "🌍", "\n\n", " to=browser.search"]  # fmt: skip


@pytest.mark.timeout(120 if not FULL else 1200)
@settings(max_examples=40 if not FULL else 1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(PIECES), max_size=25), st.integers(1, 5))
def test_whatever_a_model_says_its_events_are_in_order(pieces: list[str], batch: int) -> None:
    """An engine that heeds no constraint says anything; each event is right all the same."""
    load_tokenizer()
    transcript = "".join(pieces)

    async def ask() -> None:
        engine = ScriptedEngine(lambda prompt: transcript, batch=batch)
        engine.heeds = False
        async with running(engine) as server:
            tools = [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}]
            events = await events_of(server, {"input": "x", "tools": tools, "reasoning": {"summary": "auto"}})
            assert events[-1]["type"] in ("response.completed", "response.incomplete")
            body = {"messages": [{"role": "user", "content": "x"}], "tools": [TOOL], "stop": ["text text"]}
            status, answer = await server.post("/v1/chat/completions", body)
            assert (status, len(answer["choices"])) == (200, 1)
            assert server.service.gate.inside == 0

    asyncio.run(ask())
