"""The small parts of the server: the queue, stop sequences, the memory of messages, names."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptoss_tui.engine.constraint import Grammar
from gptoss_tui.engine.grammar import library
from gptoss_tui.engine.types import Token
from gptoss_tui.harmony.messages import Message
from gptoss_tui.harmony.tokenizer import Tokenizer, load_tokenizer
from gptoss_tui.server import encoding, memory, outbox
from gptoss_tui.server import schema as schema_module
from gptoss_tui.server.encoding import PartEncoder
from gptoss_tui.server.errors import ApiError
from gptoss_tui.server.gate import Gate
from gptoss_tui.server.line import Client
from gptoss_tui.server.memory import MessageMemory
from gptoss_tui.server.names import names_of
from gptoss_tui.server.outbox import Outbox, SlowReaderError
from gptoss_tui.server.reader import Closed, Delta, Reader
from gptoss_tui.server.responses.items import seal, unseal
from gptoss_tui.server.responses.store import KEEP_DAYS, ResponseStore, Stored
from gptoss_tui.server.responses.summary import summarize
from gptoss_tui.server.stops import StopFilter
from tests.agent.scripted_engine import ids_of
from tests.server.running import running, until
from tests.server.scripted import ScriptedEngine, final


async def test_turns_go_round_between_clients() -> None:
    gate = Gate(1, 100)
    order: list[str] = []

    async def generate(client: str) -> None:
        ticket = gate.admit(Client(client))
        async with ticket:
            order.append(client)
            await asyncio.sleep(0)
        ticket.leave()

    await asyncio.gather(*(generate(client) for client in "aaaabbc"))
    assert "".join(order) == "aabcaba"
    assert (gate.inside, gate.running, gate.waiting) == (0, 0, 0)


async def test_naming_many_users_gives_a_client_no_more_turns() -> None:
    gate = Gate(1, 15)
    order: list[str] = []

    async def generate(client: Client) -> None:
        ticket = gate.admit(client)
        async with ticket:
            order.append(client.name + client.user)
            await asyncio.sleep(0)
        ticket.leave()

    many = [Client("a", user) for user in "12345671"] + [Client("b"), Client("b"), Client("c", "1")]
    await asyncio.gather(*map(generate, many))
    assert "".join(order) == "a1a2bc1a3ba4a5a6a7a1"
    for number in range(12):
        gate.admit(Client("a", str(number)))
    with pytest.raises(ApiError):
        gate.admit(Client("a", "another"))
    gate.admit(Client("b"))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=30), st.integers(1, 3))
def test_no_place_is_lost_however_requests_end(requests: list[tuple[str, int]], slots: int) -> None:
    """Whether they are cancelled before, while or after they have their slot."""

    async def run() -> None:
        gate = Gate(slots, 100)
        running = 0

        async def generate(client: str) -> None:
            nonlocal running
            ticket = gate.admit(Client(client))
            try:
                async with ticket:
                    running += 1
                    assert running == gate.running <= slots
                    try:
                        await asyncio.sleep(0)
                    finally:
                        running -= 1
            finally:
                ticket.leave()
                ticket.leave()

        tasks = [asyncio.create_task(generate(client)) for client, _ in requests]
        for task, (_, ticks) in zip(tasks, requests, strict=True):
            for _ in range(ticks):
                await asyncio.sleep(0)
            if ticks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (gate.inside, gate.running, gate.waiting) == (0, 0, 0)

    asyncio.run(run())


def test_a_full_queue_says_when_to_come_back() -> None:
    gate = Gate(1, 7)
    for _ in range(6):
        gate.admit(Client("a"))
    with pytest.raises(ApiError) as raised:
        gate.admit(Client("a"))
    assert (raised.value.status, raised.value.code) == (429, "queue_full")
    assert raised.value.retry_after is not None
    gate.admit(Client("b"))
    gate.admit(Client("c"))
    with pytest.raises(ApiError):
        gate.admit(Client("d"))


@settings(deadline=None)
@given(st.text("ab ", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.integers(1, 5))
def test_stop_sequences_are_found_wherever_the_text_is_cut(text: str, stops: list[str], size: int) -> None:
    found = StopFilter(stops)
    shown = ""
    for at in range(0, len(text), size):
        shown += found.feed(text[at : at + size])
    shown += "" if found.found else found.finish()
    ends = [text.find(stop) for stop in stops if stop in text]
    # In one piece the first sequence to begin counts; in several it is the first to be complete.
    assert found.found == bool(ends)
    assert text.startswith(shown)
    assert all(stop not in shown for stop in stops)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40), st.integers(1, 4))
def test_the_tokens_of_an_answer_spell_it(text: str, batch: int) -> None:
    tokenizer = load_tokenizer()
    ids = ids_of(tokenizer, "<|channel|>final<|message|>") + tokenizer.encode(text)
    reader = Reader(tokenizer)
    pieces = []
    for at in range(0, len(ids), batch):
        pieces += reader.feed([Token(token_id, -1.0) for token_id in ids[at : at + batch]])
    pieces += reader.finish()
    closed = [piece for piece in pieces if isinstance(piece, Closed)]
    deltas = [piece for piece in pieces if isinstance(piece, Delta)]
    assert [piece.text for piece in closed] == [text]
    assert "".join(delta.text for delta in deltas) == text
    assert tokenizer.decode([token.id for delta in deltas for token in delta.tokens]) == text


def test_what_was_sampled_is_remembered_and_the_oldest_forgotten() -> None:
    tokenizer = load_tokenizer()
    memory = MessageMemory(tokenizer, max_tokens=40)
    call = Message("assistant", "{}", channel="commentary", recipient="functions.f", content_type="<|constrain|>json")
    sampled = ids_of(tokenizer, "<|start|>assistant<|channel|>analysis to=functions.f<|message|>{}<|call|>")
    memory.remember(call, sampled)
    assert memory.tokens_of(call) == tuple(sampled)
    for number in range(10):
        memory.tokens_of(Message("user", f"question {number}"))
    rendered = memory.tokens_of(call)
    assert rendered != tuple(sampled)
    assert tokenizer.decode(rendered).startswith("<|start|>assistant to=functions.f<|channel|>commentary")


async def test_a_long_text_is_encoded_in_parts_as_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others go on between the parts; where they are cut, the vocabulary's rule cuts too."""
    monkeypatch.setattr(encoding, "PART", 50)
    monkeypatch.setattr(encoding, "SMALL", 0)
    tokenizer = load_tokenizer()
    page = (Path(__file__).parents[2] / "docs" / "server.md").read_text(encoding="utf-8")
    for text in ("", "x" * 40, page, page.replace("\n", "  "), page.replace("e", "é ")):
        rounds = 0

        async def others() -> None:
            nonlocal rounds
            while True:
                rounds += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        assert await PartEncoder(tokenizer).encode(text) == tokenizer.encode(text)
        assert rounds >= len(text) // 101
        task.cancel()


async def test_many_messages_and_long_instructions_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the text is in, no more of it is encoded between two looks at the sockets."""
    engine = ScriptedEngine(final("x"))
    async with running(engine) as server:
        monkeypatch.setattr(encoding, "PART", 200)
        monkeypatch.setattr(memory, "PART", 200)
        monkeypatch.setattr(memory, "SMALL", 0)
        monkeypatch.setattr(encoding, "SMALL", 0)
        rounds, most, encoded = 0, 0, 0
        encode = Tokenizer.encode

        def counting(tokenizer: Tokenizer, text: str) -> list[int]:
            nonlocal encoded
            encoded += len(text)
            return encode(tokenizer, text)

        def look() -> None:
            nonlocal rounds, most, encoded
            rounds, most, encoded = rounds + 1, max(most, encoded), 0
            asyncio.get_running_loop().call_soon(look)

        monkeypatch.setattr(Tokenizer, "encode", counting)
        look()
        messages = [{"role": "user", "content": f"message {number} " * 10} for number in range(40)]
        tools = [{"type": "function", "function": {"name": "f", "description": "words " * 300}}]
        body = {"messages": [{"role": "system", "content": "be kind " * 300}, *messages], "tools": tools, "n": 3}
        asked = [server.post("/v1/chat/completions", {**body, "user": str(number)}) for number in range(3)]
        assert {status for status, _ in await asyncio.gather(*asked)} == {200}
    assert most <= 2 * 200 + 100


async def test_schemas_are_looked_at_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, answered = threading.Event(), threading.Event()

    def check(grammar: Grammar) -> None:
        seen.set()
        assert answered.wait(20), "nobody was answered meanwhile"

    monkeypatch.setattr(library, "check_grammar", check)
    async with running(ScriptedEngine(final("{}"))) as server:
        schema = {"type": "object", "properties": {"of this test": {}}, "description": "long " * 1000}
        style = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        tools = {"tools": [{"type": "function", "name": "f", "parameters": schema, "strict": True}]}
        for path, body in (
            ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "response_format": style}),
            ("/v1/responses", {"input": "x", "text": {"format": {"name": "x", **style, **style["json_schema"]}}}),
            ("/v1/responses", {"input": "x", **tools}),
            ("/api/chat", {"messages": [{"role": "user", "content": "x"}], "stream": False, "format": schema}),
        ):
            schema_module._problem.cache_clear()
            seen.clear()
            answered.clear()
            asked = asyncio.create_task(server.post(path, body))
            await until(seen.is_set)
            assert (await server.get("/health"))[0] == 200
            answered.set()
            assert (await asked)[0] == 200
        schema_module._problem.cache_clear()


async def test_a_text_that_cannot_fit_is_refused_before_it_is_encoded() -> None:
    async with running(ScriptedEngine(lambda prompt: "x", context=100)) as server:
        for path, body in (
            ("/v1/responses", {"input": "a" * 2401}),
            ("/v1/responses", {"input": "x", "instructions": "a" * 2401}),
            ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a" * 2401}]}),
            ("/v1/completions", {"prompt": "a" * 2401}),
            ("/api/chat", {"messages": [{"role": "user", "content": "a" * 2401}]}),
        ):
            status, answer = await server.post(path, body)
            assert status == 400
            assert "characters" in str(answer["error"])


async def test_a_client_that_waits_hears_that_the_server_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "QUIET_SECONDS", 0.02)
    engine = ScriptedEngine(lambda prompt: "<|channel|>final<|message|>x", hang=True)
    async with running(engine) as server:
        body = {"messages": [{"role": "user", "content": "x"}], "stream": True}
        async with server.http.post(f"{server.url}/v1/chat/completions", json=body) as response:
            async for line in response.content:
                if line == b": waiting\n":
                    break
        await until(lambda: server.service.gate.inside == 0)
    assert engine.cut == 1


async def test_a_reader_that_is_slow_has_a_bounded_buffer() -> None:
    box = Outbox(100)
    box.put(b"x" * 1000)  # one thing is always sent, however large
    with pytest.raises(SlowReaderError):
        box.put(b"y")
    assert await box.take() == b"x" * 1000
    box.put(b"y" * 99)
    box.put(b"z", last=True)
    assert (await box.take(), box.finished, await box.take()) == (b"y" * 99 + b"z", True, None)


@settings(deadline=None)
@given(st.text())
def test_sealed_thoughts_open_and_others_are_none(thought: str) -> None:
    assert unseal(seal(thought)) == thought
    assert unseal(thought) == ""


@pytest.mark.parametrize(
    ("thought", "summary"),
    [
        ("", ""),
        ("One thing.", "One thing."),
        ("First. Second! Third?", "First. … Third?"),
        ("no end", "no end"),
        ("line one\nline two", "line one … line two"),
        ("v1.2 is out. Good.", "v1.2 is out. … Good."),
        ("x" * 500, "x" * 200 + "…"),
    ],
)
def test_a_summary_is_the_two_ends_of_a_thought(thought: str, summary: str) -> None:
    assert summarize(thought, "concise") == summary
    assert summarize(thought, "detailed") == thought
    assert summarize(thought, "none") == ""


def test_the_store_forgets_what_is_old_and_what_is_damaged_is_not_there(tmp_path: Path) -> None:
    store = ResponseStore(tmp_path)
    names = [f"resp_{number:032x}" for number in range(3)]
    for name in names:
        store.save(Stored({"id": name, "output": [], "previous_response_id": None}, ()))
    old = time.time() - KEEP_DAYS * 86400 - 60
    os.utime(tmp_path / f"{names[0]}.json", (old, old))
    store.tidy()
    assert [store.load(name, "") is not None for name in names] == [False, True, True]
    for damage in (
        b"",
        b"{",
        b"[]",
        b'{"version": 1}',
        b'{"version": 1, "owner": "", "input": 5, "response": {}}',
        b"\xff",
    ):
        (tmp_path / f"{names[1]}.json").write_bytes(damage)
        assert store.load(names[1], "") is None
    assert store.load(names[2], "somebody else") is None
    assert store.load("../secret", "") is None


def test_published_models_have_the_names_of_other_servers() -> None:
    assert names_of("gpt-oss-20b", ["mine"]) == ("gpt-oss-20b", "openai/gpt-oss-20b", "gpt-oss:20b", "mine")
    assert names_of("openai/gpt-oss-120b")[0] == "gpt-oss-120b"
    assert names_of("nano") == ("nano",)
    assert names_of("/models/own") == ("own", "/models/own")
    assert names_of("http://inside.example:8000/v1", ["mine"]) == ("gpt-oss", "mine")
