"""Loading, closing and generating at the same time: each ends, with what the last one asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gptoss_tui.agent.engines import open_engine
from gptoss_tui.engine.remote.client import RemoteEngine
from gptoss_tui.engine.types import EngineSpec, Finished, SamplingParams, TokenBatch
from gptoss_tui.errors import EngineError
from gptoss_tui.harmony.tokenizer import STOP_TOKENS
from tests.engine.remote.servers import ANSWER, PROMPT, VLLM, connected, generated, listening, loaded, scored

SAMPLING = SamplingParams(stop_token_ids=STOP_TOKENS)


def new_engine(url: str) -> RemoteEngine:
    engine = open_engine(EngineSpec(Path(), "remote", url=url))
    assert isinstance(engine, RemoteEngine)
    return engine


async def test_close_ends_a_load() -> None:
    async with listening(server := VLLM(greeting_hangs=asyncio.Event())) as url:
        engine = new_engine(url)
        loading = asyncio.create_task(loaded(engine))
        await server.greeted.wait()
        await engine.close()
        with pytest.raises(EngineError):
            await loading
        assert await engine.info() is None
        assert server.greeting_hangs is not None
        server.greeting_hangs.set()
        await loaded(engine)
        assert await engine.info() is not None
        await engine.close()


async def test_the_last_load_counts() -> None:
    async with listening(server := VLLM(greeting_hangs=asyncio.Event())) as url:
        engine = new_engine(url)
        first = asyncio.create_task(loaded(engine))
        await server.greeted.wait()
        second = asyncio.create_task(loaded(engine))
        with pytest.raises(EngineError):
            await first
        assert server.greeting_hangs is not None
        server.greeting_hangs.set()
        await second
        tokens, _, _ = await generated(engine)
        assert [token.id for token in tokens] == ANSWER
        await engine.close()


async def test_a_load_that_is_not_waited_for_leaves_nothing_open() -> None:
    async with listening(VLLM()) as url:
        engine = new_engine(url)
        steps = engine.load()
        await anext(steps)
        await steps.aclose()
        assert await engine.info() is None
        with pytest.raises(EngineError, match="No server is connected"):
            await generated(engine)


@pytest.mark.parametrize("again", [True, False], ids=["load", "close"])
async def test_what_runs_is_ended_and_what_waits_meets_what_is_connected_then(again: bool) -> None:
    async with connected(server := VLLM(stalls_after=2)) as engine:
        begun = asyncio.Event()

        async def run() -> Finished:
            async for event in engine.generate(PROMPT, SAMPLING):
                if isinstance(event, TokenBatch):
                    begun.set()
            assert isinstance(event, Finished)
            return event

        running = asyncio.create_task(run())
        await begun.wait()
        waiting = asyncio.create_task(generated(engine))
        await asyncio.sleep(0)
        await (loaded(engine) if again else engine.close())
        assert (await running).reason == "cancelled"
        await server.gone.wait()
        with pytest.raises(EngineError, match="No server is connected"):
            await waiting
        assert (await engine.info() is not None) is again
        server.stalls_after = None
        if again:
            tokens, _, _ = await generated(engine)
            assert [token.id for token in tokens] == ANSWER


async def test_so_many_run_at_a_time_as_were_allowed() -> None:
    async with listening(server := VLLM(hangs=asyncio.Event())) as url:
        engine = open_engine(EngineSpec(Path(), "remote", url=url), at_once=3)
        assert isinstance(engine, RemoteEngine)
        await loaded(engine)
        every = [asyncio.create_task(generated(engine)) for _ in range(5)]
        while server.tries < 3:  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)
        for _ in range(5):
            await asyncio.sleep(0.01)
        assert server.tries == 3
        assert server.hangs is not None
        server.hangs.set()
        for tokens, _, _ in await asyncio.gather(*every):
            assert [token.id for token in tokens] == ANSWER
        await engine.close()


async def test_closing_ends_a_score_and_what_waits_behind_it() -> None:
    async with connected(server := VLLM(hangs=asyncio.Event())) as engine:
        scoring = asyncio.create_task(scored(engine))
        await server.asked.wait()
        waiting = asyncio.create_task(generated(engine))
        await asyncio.sleep(0)
        await engine.close()
        assert server.hangs is not None
        for task in (scoring, waiting):
            with pytest.raises(EngineError):
                await task
        server.hangs.set()
