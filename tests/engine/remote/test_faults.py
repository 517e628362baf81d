"""What goes wrong between us and a server, and that the next request works again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gptoss_tui.agent.engines import open_engine
from gptoss_tui.engine.constraint import Grammar, GrammarKind, TokenAutomaton, TokenState
from gptoss_tui.engine.remote import detect, link
from gptoss_tui.engine.remote.address import Address
from gptoss_tui.engine.types import EngineSpec, Finished, GenerationEvent, SamplingParams, TokenBatch
from gptoss_tui.errors import ContextOverflowError, EngineDiedError, EngineError, ModelNotFoundError
from gptoss_tui.harmony.tokenizer import STOP_TOKENS
from tests.engine.remote.servers import (
    ANSWER,
    MODEL,
    PROMPT,
    VLLM,
    FakeServer,
    Ollama,
    OnlyChat,
    OtherOllama,
    connected,
    generated,
    listening,
    loaded,
    sse,
)

SAMPLING = SamplingParams(stop_token_ids=STOP_TOKENS)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "PAUSE_SECONDS", 0.0)


async def test_what_a_busy_server_refuses_is_asked_again() -> None:
    busy = [(503, '{"error": "loading"}'), (429, "slow down"), (502, "")]
    async with connected(server := VLLM(statuses=busy)) as engine:
        tokens, _, _ = await generated(engine)
    assert [token.id for token in tokens] == ANSWER
    assert server.tries == 4


async def test_it_is_not_asked_for_ever() -> None:
    async with connected(server := VLLM(statuses=[(503, '{"message": "overloaded"}')] * 9)) as engine:
        with pytest.raises(EngineError, match="503: overloaded"):
            await generated(engine)
        assert server.tries == link.TRIES
        server.statuses.clear()
        await generated(engine)


async def test_nothing_is_asked_again_once_a_token_has_come() -> None:
    async with connected(server := VLLM(dies_after=3)) as engine:
        received: list[int] = []

        async def receive() -> None:
            async for event in engine.generate(PROMPT, SAMPLING):
                if isinstance(event, TokenBatch):
                    received.extend(token.id for token in event.tokens)

        with pytest.raises(EngineDiedError, match="in the middle"):
            await receive()
        assert received == ANSWER[:3]
        assert server.tries == 1
        assert await engine.info() is None
        server.dies_after = None
        await loaded(engine)
        tokens, _, _ = await generated(engine)
        assert [token.id for token in tokens] == ANSWER


async def test_a_stream_that_ends_too_early_is_no_answer() -> None:
    async with connected(server := VLLM()) as engine:
        server.script = []
        with pytest.raises(EngineDiedError, match="cut off its answer"):
            await generated(engine)


async def test_what_a_server_has_taken_is_not_sent_again() -> None:
    """It may have been worked at, and it may be what brought the server down."""
    for server in (VLLM(dies_after=0), VLLM(statuses=[(504, "upstream timed out")] * 2)):
        async with connected(server) as engine:
            with pytest.raises(EngineError, match=r"closed the connection|504: upstream timed out"):
                await generated(engine)
        assert server.tries == 1


async def test_an_error_in_the_stream_is_said_in_the_servers_words_without_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gptoss_tui.engine.remote.client.take_key", lambda: 'my"key')
    failure = 'out of memory for my"key in ' + json.dumps({"Authorization": 'Bearer my"key'})
    async with connected(VLLM(fails_after=2, failure=failure)) as engine:
        with pytest.raises(EngineError, match=r'out of memory for \[key\] in {"Authorization": "Bearer \[key\]"}'):
            await generated(engine)


async def test_a_refusal_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "MAX_REFUSAL", 500)
    words = json.dumps({"error": {"message": "the reason, which comes in a second packet"}})
    async with connected(VLLM(statuses=[(400, words), (400, "x" * 1000)])) as engine:
        with pytest.raises(EngineError, match="400: the reason, which comes in a second packet"):
            await generated(engine)
        with pytest.raises(EngineError, match="400: xxx"):
            await generated(engine)


async def test_the_words_of_a_server_are_made_safe() -> None:
    async with connected(VLLM(statuses=[(500, "\x1b]0;owned\x07" + "x" * 5000)])) as engine:
        with pytest.raises(EngineError) as caught:
            await generated(engine)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "words",
    [
        '{"error": {"message": "This model\'s maximum context length is 4096 tokens", "type": "BadRequestError"}}',
        '{"error": {"code": 400, "type": "exceed_context_size_error", "message": "it exceeds the context size"}}',
        '{"message": "Input length (99 tokens) exceeds the maximum allowed length (98 tokens)."}',
        '{"error": "the input length exceeds the context length"}',
    ],
)
async def test_a_prompt_that_is_too_long_for_the_server(words: str) -> None:
    async with connected(VLLM(statuses=[(400, words), (400, "your request took too long")])) as engine:
        with pytest.raises(ContextOverflowError):
            await generated(engine)
        with pytest.raises(EngineError, match="took too long") as caught:
            await generated(engine)
        assert not isinstance(caught.value, ContextOverflowError)


async def test_a_prompt_that_is_too_long_is_not_sent() -> None:
    async with connected(server := VLLM(), context=4) as engine:
        with pytest.raises(ContextOverflowError):
            await generated(engine)
    assert server.tries == 0


async def test_cancel_ends_the_connection() -> None:
    async with connected(server := VLLM(stalls_after=3)) as engine:
        async for event in engine.generate(PROMPT, SAMPLING):
            last: GenerationEvent = event
            if isinstance(event, TokenBatch):
                await engine.cancel()
        assert isinstance(last, Finished)
        assert (last.reason, last.usage.generated_tokens) == ("cancelled", 3)
        await server.gone.wait()
        server.stalls_after = None
        await generated(engine)


async def test_cancel_does_not_wait_for_headers() -> None:
    async with connected(VLLM(hangs=asyncio.Event())) as engine:
        async for event in engine.generate(PROMPT, SAMPLING):
            last: GenerationEvent = event
            await engine.cancel()
        assert isinstance(last, Finished)
        assert last.reason == "cancelled"


async def test_closing_the_iterator_ends_the_connection() -> None:
    async with connected(server := VLLM(stalls_after=2)) as engine:
        events = cast("AsyncGenerator[GenerationEvent, None]", engine.generate(PROMPT, SAMPLING))
        async for event in events:
            if isinstance(event, TokenBatch):
                break
        await events.aclose()
        await server.gone.wait()
        server.stalls_after = None
        await generated(engine)


@pytest.mark.parametrize("server", [VLLM(hangs_after=2), VLLM(stalls_after=2)], ids=["silent", "only signs of life"])
async def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch, server: VLLM) -> None:
    monkeypatch.setattr(link, "SILENCE_SECONDS", 0.05)
    async with connected(server) as engine:
        with pytest.raises(EngineDiedError, match="sent nothing useful for"):
            await generated(engine)


@pytest.mark.parametrize(("server", "kind"), [(VLLM(), "regex"), (Ollama(), "json_schema")])
async def test_a_form_that_nothing_would_enforce_is_refused(server: FakeServer, kind: GrammarKind) -> None:
    automaton = TokenAutomaton((TokenState({}, text=True, grammar=0),), grammars=(Grammar(kind, "{}"),))
    async with connected(server) as engine:
        with pytest.raises(EngineError, match="cannot enforce this form of answer"):
            await generated(engine, constraint=automaton)
    assert server.tries == 0


# -- at load --------------------------------------------------------------------------------------------------------


async def load(url: str) -> None:
    engine = open_engine(EngineSpec(Path(), "remote", url=url))
    try:
        await loaded(engine)
    finally:
        await engine.close()


async def test_nobody_there() -> None:
    async with listening(VLLM()) as url:
        pass
    with pytest.raises(EngineDiedError, match="cannot be reached"):
        await load(url)


async def test_a_key_is_wanted_sent_and_never_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptoss_tui.engine.remote.client.take_key", lambda: "wrong-key")
    async with listening(VLLM(key="secret-key")) as url:
        with pytest.raises(EngineError, match="another API key") as caught:
            await load(url)
        assert "wrong-key" not in str(caught.value)
        monkeypatch.setattr("gptoss_tui.engine.remote.client.take_key", lambda: "secret-key")
        await load(url)


@pytest.mark.parametrize(
    ("root", "proxy"),
    [("http://model.test:8000", "http://proxy.test:3128"), ("http://127.0.0.1:8000", None), ("http://in.test", None)],
)
async def test_proxies_are_for_the_world_outside(monkeypatch: pytest.MonkeyPatch, root: str, proxy: str | None) -> None:
    """And logins of a netrc, which aiohttp takes together with them, are not used."""
    monkeypatch.setenv("http_proxy", "http://proxy.test:3128")
    monkeypatch.setenv("no_proxy", "in.test")
    connection = link.Link(Address(root), "a-key")
    session = connection._session
    assert (session._default_proxy and str(session._default_proxy), session.trust_env) == (proxy, False)
    await connection.close()


async def test_which_model() -> None:
    several = [{"id": name, "owned_by": "vllm", "max_model_len": 99} for name in ("qwen3", MODEL, "gpt-oss-120b")]
    async with listening(VLLM(models=several)) as url:
        with pytest.raises(ModelNotFoundError, match="several models") as caught:
            await load(url)
        assert f"#NAME: qwen3, {MODEL}" in str(caught.value)
        with pytest.raises(ModelNotFoundError, match="no model 'llama'"):
            await load(f"{url}#llama")
        await load(f"{url}#{MODEL}")
    async with connected(VLLM(models=several[:2])) as engine:
        assert (info := await engine.info()) is not None
        assert info.model == MODEL
    async with listening(Ollama(models=[{"id": "mine:latest", "owned_by": "library"}])) as url:
        await load(f"{url}#mine")
    for facts in ({"owned_by": "vllm", "root": "/models/gpt-oss-20b"}, {"owned_by": "gptoss-tui"}):
        async with connected(VLLM(models=[{"id": name, "max_model_len": 99} | facts for name in "ab"])) as engine:
            assert (info := await engine.info()) is not None
            assert info.model == "a"


async def test_what_a_server_says_of_itself_has_an_end_and_names_that_can_be_shown() -> None:
    hostile = [{"id": name, "owned_by": "vllm"} for name in ("\x1b]0;owned\x07", "x" * 1000, "a\u202eb", "c", "d")]
    async with listening(VLLM(models=hostile)) as url:
        with pytest.raises(ModelNotFoundError, match=r"#NAME: c, d$"):
            await load(url)
    async with listening(VLLM(models=[{"id": "x" * link.MAX_FACTS}])) as url:
        with pytest.raises(EngineError, match="answers /v1/models with more than 4 MB"):
            await load(url)


async def test_a_greeting_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a server goes on with."""
    token = sse({"choices": [{"token_ids": ANSWER[:1], "finish_reason": None}]})
    async with connected(VLLM(greets_for_ever=token)):
        pass
    monkeypatch.setattr(detect, "FIRST_SECONDS", 0.2)
    for nothing in (b": ping\n\n", sse({"choices": []})):
        async with listening(VLLM(script=[], greets_for_ever=nothing)) as url:
            with pytest.raises(EngineDiedError, match="sent nothing useful"):
                await load(url)


async def test_a_redirect_is_named_and_not_followed() -> None:
    app = web.Application()
    app.router.add_get("/v1/models", lambda _: _moved())
    runner = TestServer(app)
    await runner.start_server()
    with pytest.raises(EngineError, match=r"sends requests to https://elsewhere\.test/v1/models"):
        await load(f"http://127.0.0.1:{runner.port}/v1")
    await runner.close()


async def _moved() -> web.Response:
    raise web.HTTPMovedPermanently("https://elsewhere.test/v1/models")


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (VLLM(script=PROMPT[1:]), "does not answer in the harmony format"),
        (OnlyChat(), "cannot continue a raw prompt"),
        (OtherOllama(), "does not answer in the harmony format"),
    ],
    ids=["another model", "only chats", "control tokens left out"],
)
async def test_what_cannot_be_used_is_said_at_load(server: FakeServer, words: str) -> None:
    async with listening(server) as url:
        with pytest.raises(EngineError, match=words):
            await load(url)
