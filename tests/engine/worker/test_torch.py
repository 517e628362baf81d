"""The real torch engine behind the client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from gptoss_tui.engine.checkpoint import random_checkpoint
from gptoss_tui.engine.types import EngineSpec, Finished, SamplingParams, TokenBatch
from gptoss_tui.engine.worker.client import EngineClient
from gptoss_tui.errors import CheckpointError, ContextOverflowError, EngineError, MemoryPlanError
from gptoss_tui.settings import Settings
from tests.engine.shapes import TINY

pytestmark = pytest.mark.asyncio(loop_scope="module")

GREEDY = SamplingParams(temperature=0.0, max_tokens=8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models") / "tiny"
    random_checkpoint(TINY, directory)
    return directory


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(checkpoint: Path) -> AsyncIterator[EngineClient]:
    """An engine for all tests that leave it as it was."""
    client = EngineClient(EngineSpec(checkpoint, dtype="float32", threads=1))
    async for progress in client.load():
        assert 0 <= progress.fraction <= 1
    yield client
    await client.close()


async def generate(client: EngineClient, token_ids: list[int]) -> tuple[list[int], Finished]:
    events = [event async for event in client.generate(token_ids, GREEDY)]
    sampled = [token.id for event in events if isinstance(event, TokenBatch) for token in event.tokens]
    assert isinstance(events[-1], Finished)
    return sampled, events[-1]


async def test_a_turn_continues_from_the_cached_one(engine: EngineClient) -> None:
    prompt = [21, 22, 23, 24, 25]  # as no other test's
    sampled, finished = await generate(engine, prompt)
    assert (finished.reason, len(sampled)) == ("length", 8)
    assert finished.usage.prefilled_tokens == 5
    _, again = await generate(engine, [*prompt, *sampled, 6, 7])
    assert again.usage.cached_tokens >= 5 + 7
    assert again.usage.prefilled_tokens == again.usage.prompt_tokens - again.usage.cached_tokens
    positions = [one async for batch in engine.score([*prompt, *sampled], top=1) for one in batch]
    assert [position.top[0][0] for position in positions[4:-1]] == sampled, "greedy takes what score finds likeliest"


async def test_refusals_leave_the_engine_as_it_was(engine: EngineClient) -> None:
    with pytest.raises(EngineError, match="outside the vocabulary"):
        await generate(engine, [1, 80])
    info = await engine.info()
    assert info is not None
    with pytest.raises(ContextOverflowError):
        await generate(engine, [1] * info.context)
    assert len((await generate(engine, [1, 2]))[0]) == 8


async def test_the_memory_plan_is_enforced_before_loading(checkpoint: Path) -> None:
    client = EngineClient(EngineSpec(checkpoint, context=10**12))
    stages = []
    with pytest.raises(MemoryPlanError, match="nothing was loaded"):
        stages += [progress.stage async for progress in client.load()]
    assert stages == []
    assert client.worker_pid is None


async def test_a_context_that_nobody_asked_for_is_the_models_own(engine: EngineClient) -> None:
    info = await engine.info()
    assert info is not None
    assert (info.model, info.context) == ("tiny", TINY.max_context)


async def test_the_name_that_was_asked_for_is_shown(checkpoint: Path) -> None:
    client = EngineClient(EngineSpec(checkpoint, name="gpt-oss-0b"))
    *_, last = [progress async for progress in client.load()]
    assert last.info is not None
    assert last.info.model == "gpt-oss-0b"
    client.spec = replace(client.spec, dtype="float32")
    *_, last = [progress async for progress in client.load()]
    assert last.info is not None
    assert last.info.dtype == "float32", "another spec replaces what is loaded"
    await client.close()


async def test_the_built_in_model_is_unpacked_by_the_worker() -> None:
    client = EngineClient(Settings().engine_spec())
    *_, last = [progress async for progress in client.load()]
    assert last.info is not None
    assert last.info.model == "nano"
    sampled, _ = await generate(client, [1, 2, 3])
    assert sampled
    await client.close()


async def test_a_damaged_checkpoint_is_named(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    client = EngineClient(EngineSpec(tmp_path))
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        async for _ in client.load():
            pass


async def test_the_folder_that_the_front_works_in_may_be_gone(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = EngineClient(EngineSpec(checkpoint, dtype="float32", threads=1))
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    async for _ in client.load():
        pass
    sampled, _ = await generate(client, [1, 2, 3])
    await client.close()
    assert len(sampled) == 8
