"""Many clients at once: each gets its own answer or a clean refusal, and nobody who is slow or gone costs the others.

`GPTOSS_TUI_SERVER_LOAD=1` makes it 500 streams, 200 slow readers and 1,000 disconnects, and prints what they took.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import socket
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from gptoss_tui.engine.types import EngineSpec, GenerationEvent, SamplingParams
from gptoss_tui.engine.worker.client import EngineClient
from gptoss_tui.server import outbox
from gptoss_tui.server.gate import Gate
from tests.engine.worker import scripted
from tests.server.running import Running, running, until
from tests.server.scripted import ScriptedEngine

FULL = os.environ.get("GPTOSS_TUI_SERVER_LOAD") == "1"
STREAMS = 500 if FULL else 50
SLOW, NORMAL = (200, 50) if FULL else (30, 10)
DISCONNECTS = 1000 if FULL else 80
WORDS = 100


def script(prompt: str) -> str:
    """A hundred times the word that was asked for, or as often as no buffer holds."""
    asked = prompt.rpartition("<|start|>user<|message|>")[2].split("<|end|>")[0]
    return "<|channel|>final<|message|>" + f" {asked}" * (8 * WORDS if asked == "slow" else WORDS) + "<|return|>"


async def one_stream(server: Running, nonce: str) -> tuple[int, float, str]:
    """Status, seconds to the first byte of the answer, and what was said."""
    body = {"messages": [{"role": "user", "content": nonce}], "stream": True, "user": nonce[:2]}
    began = time.monotonic()
    async with server.http.post(f"{server.url}/v1/chat/completions", json=body) as response:
        if response.status != 200:
            assert response.status in (429, 503)
            assert int(response.headers["Retry-After"]) >= 1
            assert (await response.json())["error"]["code"] == "queue_full"
            return response.status, 0.0, ""
        said, first = [], 0.0
        async for line in response.content:
            if line.startswith(b"data: {"):
                first = first or time.monotonic() - began
                said += [c["delta"].get("content") or "" for c in json.loads(line[6:])["choices"]]
        assert line == b"\n"
        return response.status, first, "".join(said)


@pytest.mark.parametrize(("slots", "waiting"), [(16, 1000), (1, 20)])
async def test_every_stream_is_its_own_or_refused(slots: int, waiting: int) -> None:
    process = psutil.Process()
    engine = ScriptedEngine(script, batch=2)
    async with running(engine, gate=Gate(slots, waiting)) as server:
        await one_stream(server, "warm")
        memory, files = process.memory_info().rss, process.num_fds()
        began = time.monotonic()
        nonces = [f"{number % 7}x{number:04d}" for number in range(STREAMS)]
        answers = await asyncio.gather(*(one_stream(server, nonce) for nonce in nonces))
        seconds, grown = time.monotonic() - began, process.memory_info().rss - memory
        statuses = Counter(status for status, _, _ in answers)
        for nonce, (status, _, said) in zip(nonces, answers, strict=True):
            assert status != 200 or said == f" {nonce}" * WORDS, "an answer has something of another one"
        assert statuses[200] == (STREAMS if waiting >= STREAMS else statuses[200])
        assert statuses[200] >= min(STREAMS, waiting * 3 // 4)
        await until(lambda: server.service.gate.inside == 0)
        assert engine.running == 0
        assert engine.most <= slots
        server.http.connector and await server.http.connector.close()
        await until(lambda: process.num_fds() <= files + 5)
    if FULL:
        first = sorted(first for status, first, _ in answers if status == 200)
        median, most = first[len(first) // 2], first[len(first) * 99 // 100]
        print(f"\n{STREAMS} streams, {slots} slots: {dict(statuses)} in {seconds:.1f} s")
        print(f"first byte: median {median:.2f} s, 99 % {most:.2f} s; memory +{grown / 2**20:.0f} MiB")


async def test_readers_that_do_not_read_are_cut_off_and_hold_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MAX_WAITING_BYTES", 16 * 1024)
    engine = ScriptedEngine(script)
    async with running(engine, gate=Gate(4, 1000), send_buffer=4096) as server:
        body = json.dumps({"messages": [{"role": "user", "content": "slow"}], "stream": True}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" \
               f"Content-Length: {len(body)}\r\n\r\n"  # fmt: skip
        with ExitStack() as open_sockets:
            for _ in range(SLOW):
                sock = open_sockets.enter_context(socket.socket())
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.setblocking(False)
                await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.port))
                await asyncio.get_running_loop().sock_sendall(sock, head.encode() + body)
            answers = await asyncio.gather(*(one_stream(server, f"n{number}") for number in range(NORMAL)))
            assert [status for status, _, _ in answers] == [200] * NORMAL
            await until(lambda: server.service.gate.inside == 0)
            await until(lambda: server.service.metrics.requests["/v1/chat/completions", 499] == SLOW)
        assert engine.running == 0
        assert engine.cut == SLOW, "their generations were stopped"


async def test_who_goes_away_frees_the_engine() -> None:
    source = random.Random(3)
    engine = ScriptedEngine(script)
    async with running(engine, gate=Gate(4, DISCONNECTS)) as server:
        await one_stream(server, "warm")
        tasks = len(asyncio.all_tasks())

        async def leave(number: int) -> None:
            stream = source.random() < 0.7
            path, body = source.choice(
                [
                    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "stream": stream}),
                    ("/v1/responses", {"input": "x", "stream": stream, "store": False}),
                    ("/v1/completions", {"prompt": "x", "stream": stream, "max_tokens": 500}),
                ]
            )
            data = json.dumps(body).encode()
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            whole = f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data
            cut = source.choice((len(whole), len(whole), source.randrange(len(whole))))
            writer.write(whole[:cut])
            if cut == len(whole) and source.random() < 0.7:
                await reader.read(source.choice((1, 500, 5000)))
            writer.transport.abort() if source.random() < 0.5 else writer.close()

        for begin in range(0, DISCONNECTS, 20):
            await asyncio.gather(*(leave(number) for number in range(begin, begin + 20)))
        await until(lambda: server.service.gate.inside == 0 and engine.running == 0)
        assert server.service.gate.running == server.service.gate.waiting == 0
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        assert (await one_stream(server, "after"))[2] == " after" * WORDS


async def test_who_goes_away_while_a_prompt_is_scored_frees_the_engine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In a real worker, whose backend would score this prompt for ever."""
    monkeypatch.setenv("GPTOSS_TUI_PYTHON_BACKENDS", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    engine = EngineClient(EngineSpec(tmp_path, backend="python:tests.engine.worker.scripted"))
    scored: dict[str, object] = {"echo": True, "logprobs": 1, "max_tokens": 0}
    async with running(engine) as server:
        asking = asyncio.create_task(server.post("/v1/completions", {"prompt": [scripted.SLOW, 1], **scored}))
        await until(lambda: server.service.gate.running == 1)
        waiting = asyncio.create_task(server.post("/v1/completions", {"prompt": [scripted.COUNT, 5], **scored}))
        await until(lambda: server.service.gate.waiting == 1)
        asking.cancel()
        status, answer = await waiting
        assert status == 200
        assert answer["choices"][0]["logprobs"]["token_logprobs"] == [None, -1.0]
    await engine.close()


async def test_a_client_with_many_requests_lets_others_between_them() -> None:
    """The second client's one request runs after one of the first client's at most, not after all of them."""
    order: list[str] = []

    def noting(prompt: str) -> str:
        order.append(prompt.rpartition("<|message|>")[2][:1])
        return script(prompt)

    engine, go = ScriptedEngine(noting), asyncio.Event()
    generate = engine.generate

    async def held(token_ids: Sequence[int], params: SamplingParams) -> AsyncGenerator[GenerationEvent, None]:
        await go.wait()
        async for event in generate(token_ids, params):
            yield event

    engine.generate = held  # type: ignore[method-assign]
    async with running(engine, gate=Gate(1, 40)) as server:

        async def ask(user: str) -> int:
            body = {"messages": [{"role": "user", "content": user}], "user": user}
            return (await server.post("/v1/chat/completions", body))[0]

        many = [asyncio.create_task(ask("a")) for _ in range(30)]
        await until(lambda: server.service.gate.inside == 30)
        other = asyncio.create_task(ask("b"))
        await until(lambda: server.service.gate.inside == 31)
        go.set()
        assert await other == 200
        assert order.index("b") == 2, "behind the one that ran and the one whose turn it was"
        assert set(await asyncio.gather(*many)) == {200}
        flood = [asyncio.create_task(ask("c")) for _ in range(60)]
        await until(lambda: sum(task.done() for task in flood) > 0)
        assert await ask("d") == 200, "the last quarter of the queue is for others"
        assert set(await asyncio.gather(*flood)) == {200, 429}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/completions", "/api/chat"])
async def test_a_bug_is_said_in_the_stream_and_frees_the_engine(path: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gptoss_tui.server.access")

    def broken(prompt: str) -> str:
        raise ZeroDivisionError("a secret of the engine")

    async with running(ScriptedEngine(broken)) as server:
        asked = {"prompt": "x"} if path == "/v1/completions" else {"input": "x"}
        body = {"messages": [{"role": "user", "content": "x"}], "stream": True, **asked}
        async with server.http.post(f"{server.url}{path}", json=body) as response:
            said = await response.text()
        assert response.status == 200
        assert "The server had an error" in said
        await until(lambda: "internal_error" in caplog.text)
        assert "secret" not in said
        assert server.service.gate.inside == 0
        status, answer = await server.post(path, {**body, "stream": False})
        assert status == 500
        assert "secret" not in str(answer)
        assert server.service.gate.inside == 0
    assert "ZeroDivisionError" in caplog.text
