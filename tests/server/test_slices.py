"""Generations that are interrupted for others: each answer is the one that it would have been alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from gptoss_tui.engine import slices as engine_slices
from gptoss_tui.engine.types import (
    Finished,
    GenerationEvent,
    PrefillProgress,
    SamplingParams,
    ScoredPosition,
    Token,
    TokenBatch,
    Usage,
)
from gptoss_tui.harmony.tokenizer import load_tokenizer
from gptoss_tui.server import slices
from gptoss_tui.server.gate import Gate
from gptoss_tui.server.host import EngineHost
from gptoss_tui.server.line import Client
from gptoss_tui.server.stats import Stats
from tests.server.running import Running, running, until
from tests.server.scripted import ScriptedEngine, final

SCHEMA = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}}}, "required": ["a"]}
TOOL = {"type": "function", "function": {"name": "look", "parameters": SCHEMA}}
JSON = json.dumps({"a": list(range(40))})
THOUGHT = "<|channel|>analysis<|message|>" + "I think. " * 20 + "<|end|><|start|>assistant"


def script(prompt: str) -> str:
    asked = prompt.rpartition("<|message|>")[2]
    if "json" in asked:
        return f"{THOUGHT}<|channel|>final<|message|>{JSON}<|return|>"
    if "look" in asked:
        return f"{THOUGHT} to=functions.look<|channel|>commentary <|constrain|>json<|message|>{JSON}<|call|>"
    return f"{THOUGHT}<|channel|>final<|message|>" + f"{asked[:8]} word" * 40 + " END of it<|return|>"


def chat(text: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    return "/v1/chat/completions", {"messages": [{"role": "user", "content": text}], "user": text, **fields}


REQUESTS = [
    chat("plain"),
    chat("likely", logprobs=True, top_logprobs=2, n=2),
    chat("stops", stop=["END"]),
    chat("short", max_tokens=70),
    chat("json", response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}),
    chat("look", tools=[TOOL], tool_choice="required"),
    ("/v1/responses", {"input": "answer", "store": False}),
    ("/v1/completions", {"prompt": "go on", "max_tokens": 90, "logprobs": 1, "echo": True, "return_token_ids": True}),
    ("/api/chat", {"messages": [{"role": "user", "content": "llama"}], "stream": False}),
]


def essence(value: Any) -> Any:
    """An answer without what no two answers have in common."""
    if isinstance(value, dict):
        names = [
            n for n in value if n not in ("id", "call_id", "created", "created_at", "completed_at", "cached_tokens")
        ]
        return {name: essence(value[name]) for name in names if not name.endswith("_duration")}
    return [essence(item) for item in value] if isinstance(value, list) else value


async def test_interrupted_answers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thoughts, stop sequences, limits, forms, calls, logprobs and what they cost."""
    engine = ScriptedEngine(script, batch=3)
    async with running(engine) as server:
        alone = [await server.post(*request) for request in REQUESTS]
        assert engine.slices == len(engine.prompts), "nobody waited"
        monkeypatch.setattr(engine_slices, "SLICE_SECONDS", 0.0)
        monkeypatch.setattr(engine_slices, "RETURN_SHARE", 0)
        together = await asyncio.gather(*(server.post(*request) for request in REQUESTS))
    assert [status for status, _ in alone] == [200] * len(REQUESTS)
    for ours, theirs in zip(together, alone, strict=True):
        assert essence(ours[1]) == essence(theirs[1])
    assert engine.slices > 2 * len(engine.prompts)
    assert engine.most == 1
    assert engine.forbidden == []


async def test_a_scoring_that_somebody_else_stopped_is_an_error() -> None:
    engine = ScriptedEngine(script)
    async with running(engine) as server:
        body = {"prompt": [5] * 2000, "max_tokens": 0, "logprobs": 1, "echo": True}
        scoring = asyncio.create_task(server.post("/v1/completions", body))
        await until(lambda: engine.scorings == 1)
        await engine.cancel()
        status, answer = await scoring
    assert (status, answer["error"]["code"]) == (503, "engine_error")


async def test_interrupted_streams_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event by event, but for how tokens are put together."""

    async def said(server: Running, text: str) -> str:
        parts = []
        stream = await server.client.responses.create(model="gpt-oss-20b", input=text, stream=True, user=text)
        async for number, event in _numbered(stream):
            assert event.sequence_number == number
            parts.append(event.delta if event.type.endswith(".delta") else f"<{event.type}>")
        return "".join(parts)

    async with running(ScriptedEngine(script, batch=2)) as server:
        alone = [await said(server, text) for text in ("a", "b", "c")]
        monkeypatch.setattr(engine_slices, "SLICE_SECONDS", 0.0)
        monkeypatch.setattr(engine_slices, "RETURN_SHARE", 0)
        assert await asyncio.gather(*(said(server, text) for text in ("a", "b", "c"))) == alone


async def _numbered(stream: Any) -> AsyncGenerator[tuple[int, Any], None]:
    number = 0
    async for event in stream:
        yield number, event
        number += 1


class Patient(ScriptedEngine):
    """Says the next word of `endless` answers only when somebody waits for the engine, until it is let `go`."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(lambda prompt: final(" on" * 3000 if "endless" in prompt else "done")(prompt))
        self.gate = gate
        self.go = asyncio.Event()

    async def generate(self, token_ids: Sequence[int], params: SamplingParams) -> AsyncGenerator[GenerationEvent, None]:
        patient = "endless" in load_tokenizer().decode(token_ids)
        async with aclosing(super().generate(token_ids, params)) as events:
            async for event in events:
                if patient:
                    await until(lambda: self.gate.waiting > 0 or self.go.is_set())
                yield event

    async def score(
        self, token_ids: Sequence[int], top: int = 5, start: int = 0
    ) -> AsyncGenerator[tuple[ScoredPosition, ...], None]:
        async with aclosing(super().score(token_ids, top, start)) as batches:
            async for batch in batches:
                await until(lambda: self.gate.waiting > 0 or self.go.is_set())
                yield batch


async def test_a_long_answer_does_not_hold_up_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """And goes on between them, however many there are."""
    monkeypatch.setattr(engine_slices, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(engine_slices, "RETURN_SHARE", 0)  # its patience would be counted
    engine = Patient(Gate(1, 100))
    async with running(engine, gate=engine.gate) as server:
        endless = asyncio.create_task(server.post(*chat("endless")))
        await until(lambda: engine.running == 1)
        for number in range(5):
            assert (await server.post(*chat(f"short {number}")))[0] == 200
        assert not endless.done()
        crowd = [asyncio.create_task(server.post(*chat(f"more {number}"))) for number in range(40)]
        engine.go.set()
        status, answer = await endless
        assert (status, answer["choices"][0]["message"]["content"]) == (200, " on" * 3000)
        assert {(await one)[0] for one in crowd} == {200}
    assert answer["usage"]["completion_tokens"] == 3004


async def test_scoring_a_prompt_does_not_hold_up_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes turns with them, and says what it would have said alone."""
    monkeypatch.setattr(engine_slices, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(engine_slices, "RETURN_SHARE", 0)
    engine = Patient(Gate(1, 100))
    body = {"prompt": [5] * 200, "max_tokens": 0, "logprobs": 1, "echo": True, "user": "harness"}
    async with running(engine, gate=engine.gate) as server:
        scoring = asyncio.create_task(server.post("/v1/completions", body))
        await until(lambda: engine.scorings == 1)
        for number in range(5):
            assert (await server.post(*chat(f"short {number}")))[0] == 200
        assert not scoring.done()
        assert engine.scorings > 1
        engine.go.set()
        together = await scoring
        alone = await server.post("/v1/completions", body)
    assert essence(together[1]) == essence(alone[1])
    assert len(together[1]["choices"][0]["logprobs"]["tokens"]) == 200


async def test_who_goes_away_between_its_slices_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_slices, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(engine_slices, "RETURN_SHARE", 0)
    engine = ScriptedEngine(final(" on" * 7000))
    async with running(engine) as server:
        every = [asyncio.create_task(server.post(*chat(f"{number}", stream=True))) for number in range(6)]
        await until(lambda: engine.slices > 50 and engine.running == 1)
        for task in every:
            task.cancel()
        await asyncio.wait(every)
        await until(lambda: server.service.metrics.disconnects == 6)
        gate = server.service.gate
        assert (gate.inside, gate.running, gate.waiting, engine.running) == (0, 0, 0, 0)
        engine.script = final("done")
        assert (await server.post(*chat("after")))[0] == 200


async def test_an_answer_that_somebody_else_stopped_is_no_answer() -> None:
    """It is an error, not a short answer."""
    engine = ScriptedEngine(final(" on" * 3000))
    async with running(engine) as server:
        asked = asyncio.create_task(server.post(*chat("x")))
        await until(lambda: engine.running == 1)
        await engine.cancel()
        status, answer = await asked
    assert (status, answer["error"]["code"]) == (503, "engine_error")


async def test_newcomers_go_before_those_that_were_interrupted_every_second_time() -> None:
    gate = Gate(1, 100)
    order: list[str] = []

    async def generate(name: str, times: int) -> None:
        ticket = gate.admit(Client(name))
        for _ in range(times):
            async with ticket:
                order.append(name)
                await asyncio.sleep(0)
        ticket.leave()

    await asyncio.gather(generate("L", 4), *(generate(name, 1) for name in "abc"), generate("M", 2))
    assert "".join(order) == "LaLbLcLMM"
    assert (gate.inside, gate.running, gate.waiting) == (0, 0, 0)


class Forgetful:
    """An engine that reads a prompt of a hundred chunks, and keeps nothing of it when it is interrupted."""

    def __init__(self, time: list[float]) -> None:
        self.time = time
        self.stopped = False
        self.chunks = 0
        self.slices: list[int] = []

    async def generate(self, token_ids: Sequence[int], params: SamplingParams) -> AsyncGenerator[GenerationEvent, None]:
        self.stopped = False
        for chunk in range(100):
            self.time[0] += 1.0
            self.chunks += 1
            if self.stopped:
                self.slices.append(chunk)
                yield Finished("cancelled", Usage(0, 0, 0, 0, 0.0, 0.0))
                return
            yield PrefillProgress(100, chunk + 1, 0)
        yield TokenBatch((Token(1, 0.0),))
        yield Finished("stop", Usage(100, 0, 100, 1, 100.0, 0.0))

    async def cancel(self) -> None:
        self.stopped = True


async def test_who_has_to_begin_anew_gets_further_each_time() -> None:
    """Reading it again is a fifth of a slice at most, so an engine that keeps nothing still gets through."""
    time = [0.0]
    engine = Forgetful(time)
    host = EngineHost(engine, load_tokenizer())  # type: ignore[arg-type]
    host.info = await ScriptedEngine(script).info()
    gate = Gate(1, 10)
    ticket, other, stats = gate.admit(Client("a")), gate.admit(Client("b")), Stats()

    async def wants() -> None:
        for _ in range(50):
            async with other:
                await asyncio.sleep(0)

    events = []
    generation = slices.generate(host, ticket, [0] * 100, SamplingParams(), stats, lambda: time[0])
    async with aclosing(generation), asyncio.TaskGroup() as group:
        async for event in generation:
            if not events:
                group.create_task(wants())
                await until(lambda: gate.waiting == 1)
            events.append(event)
    progress = [event.done for event in events if isinstance(event, PrefillProgress)]
    assert progress == list(range(1, 101)), "each part is told once"
    assert engine.slices[:3] == [1, 10, 55]
    assert stats.slices == len(engine.slices) + 1
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "stop"
    ticket.leave()
    other.leave()
