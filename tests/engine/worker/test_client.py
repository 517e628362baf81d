"""The client against real worker processes that run a scripted backend."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from gptoss_tui.engine.types import (
    EngineSpec,
    Finished,
    GenerationEvent,
    LoadProgress,
    PrefillProgress,
    SamplingParams,
    ScoredPosition,
    Token,
    TokenBatch,
)
from gptoss_tui.engine.worker.client import EngineClient
from gptoss_tui.errors import (
    CheckpointError,
    ContextOverflowError,
    EngineDiedError,
    EngineError,
    GptOssError,
    MemoryPlanError,
    UsageError,
)
from tests.engine.worker.scripted import COUNT, GARBAGE, KILL, OUT_OF_MEMORY, OVERFLOW, RAISE, SLOW

MakeEngine = Callable[[str], EngineClient]
ENDLESS = SamplingParams()

pytestmark = pytest.mark.timeout(30)


async def load(client: EngineClient) -> list[LoadProgress]:
    return [progress async for progress in client.load()]


async def generate(client: EngineClient, *token_ids: int, params: SamplingParams = ENDLESS) -> list[GenerationEvent]:
    return [event async for event in client.generate(token_ids, params)]


async def scores(client: EngineClient, token_ids: list[int], start: int = 0) -> list[ScoredPosition]:
    return [position async for batch in client.score(token_ids, 5, start) for position in batch]


def tokens_of(events: list[GenerationEvent]) -> list[Token]:
    return [token for event in events if isinstance(event, TokenBatch) for token in event.tokens]


async def gone(pid: int) -> bool:
    """Whether process `pid` ends; asked often, for at most ten seconds."""
    for _ in range(500):
        if not runs(pid):
            return True
        await asyncio.sleep(0.02)
    return False


def runs(pid: int) -> bool:
    """Whether process `pid` is there and no zombie, which an orphan stays until its new parent looks."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_load_ends_with_the_info(make_engine: MakeEngine) -> None:
    steps = await load(make_engine("model"))
    assert [step.done for step in steps[:-1]] == [False] * (len(steps) - 1)
    assert steps[-1].done
    assert steps[-1].info is not None
    assert steps[-1].info.model == "model"


async def test_a_second_load_finds_the_model_loaded(engine: EngineClient) -> None:
    pid = engine.worker_pid
    (step,) = await load(engine)
    assert step.done
    assert engine.worker_pid == pid


async def test_generate_streams_what_the_backend_makes(engine: EngineClient) -> None:
    params = SamplingParams(max_tokens=50, top_logprobs=2)
    events = await generate(engine, COUNT, 10, params=params)
    assert events[0] == PrefillProgress(2, 2, 0)
    assert tokens_of(events) == [Token(11 + i, -0.5, ((7, -0.5), (7, -0.5))) for i in range(50)]
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "length"
    info = await engine.info()
    assert info is not None
    assert info.cached_tokens == 52


async def test_many_tokens_come_in_few_batches(engine: EngineClient) -> None:
    events = await generate(engine, COUNT, params=SamplingParams(max_tokens=20_000))
    assert [token.id for token in tokens_of(events)] == list(range(2, 20_002))
    assert len(events) < 2_000


async def test_cancel_ends_the_running_generation(engine: EngineClient) -> None:
    events: list[GenerationEvent] = []
    async for event in engine.generate([SLOW], ENDLESS):
        events.append(event)
        if isinstance(event, TokenBatch):
            await engine.cancel()
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.reason == "cancelled"
    assert finished.usage.generated_tokens == len(tokens_of(events))


async def test_closing_the_iterator_cancels(engine: EngineClient) -> None:
    stream = engine.generate([SLOW], ENDLESS)
    async for event in stream:
        if isinstance(event, TokenBatch):
            break
    await stream.aclose()
    events = await generate(engine, COUNT, params=SamplingParams(max_tokens=3))
    assert len(tokens_of(events)) == 3, "the endless one before it has made room"


async def test_a_cancelled_task_cancels_its_generation(engine: EngineClient) -> None:
    task = asyncio.create_task(generate(engine, SLOW))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(tokens_of(await generate(engine, COUNT, params=SamplingParams(max_tokens=3)))) == 3


async def test_requests_are_answered_in_order(engine: EngineClient) -> None:
    order: list[int] = []

    async def run(number: int) -> None:
        await generate(engine, SLOW, params=SamplingParams(max_tokens=10))
        order.append(number)

    tasks = [asyncio.create_task(run(number)) for number in range(4)]
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3]


async def test_cancel_leaves_those_that_wait(engine: EngineClient) -> None:
    first = asyncio.create_task(generate(engine, SLOW))
    second = asyncio.create_task(generate(engine, COUNT, params=SamplingParams(max_tokens=5)))
    await asyncio.sleep(0.05)
    assert await engine.info() is not None, "info does not wait for the device"
    await engine.cancel()
    assert (await first)[-1].reason == "cancelled"  # type: ignore[union-attr]
    assert len(tokens_of(await second)) == 5


async def test_a_reader_that_sleeps_finds_everything_in_one_batch(engine: EngineClient) -> None:
    stream = engine.generate([SLOW], SamplingParams(max_tokens=200))
    events = [await anext(stream)]
    await generate(engine, COUNT, params=SamplingParams(max_tokens=1))
    events += [event async for event in stream]
    assert len(tokens_of(events)) == 200
    assert len(events) <= 4


async def test_score_comes_whole_and_in_order(engine: EngineClient) -> None:
    token_ids = [i % 900 for i in range(3000)]
    positions = await scores(engine, token_ids)
    assert [p.next for p in positions] == [*token_ids[1:], None]
    assert [p.top[0][0] for p in positions] == token_ids
    assert all(len(p.top) == 5 for p in positions)
    assert positions[899].logprob == float("-inf")
    assert positions[-1].logprob is None


async def test_a_cancelled_task_cancels_its_scoring(engine: EngineClient) -> None:
    """One that runs and one that waits behind it; who comes after them finds the engine free."""
    tasks = [asyncio.create_task(scores(engine, [SLOW])) for _ in range(2)]
    await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(await scores(engine, [COUNT, 5])) == 2


@pytest.mark.parametrize(
    ("checkpoint", "error", "message"),
    [
        ("no-checkpoint", CheckpointError, "config.json is missing"),
        ("no-memory", MemoryPlanError, "40 GB do not fit in 8 GB"),
        ("import-error", EngineError, "No module named 'torch'"),
    ],
)
async def test_errors_of_loading_keep_their_class(
    make_engine: MakeEngine, checkpoint: str, error: type[GptOssError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        await load(make_engine(checkpoint))
    assert caught.value.hint


async def test_an_unknown_backend_lists_the_known(scripted_environment: None, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no backend 'abacus'") as caught:
        await load(EngineClient(EngineSpec(checkpoint=tmp_path, backend="abacus")))
    assert "torch" in str(caught.value.hint)


async def test_python_backends_need_the_environments_leave(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GPTOSS_TUI_PYTHON_BACKENDS")
    with pytest.raises(UsageError, match="no backend"):
        await load(make_engine("model"))


async def test_an_overlong_prompt_is_refused_and_the_engine_goes_on(engine: EngineClient) -> None:
    with pytest.raises(ContextOverflowError) as caught:
        await generate(engine, OVERFLOW)
    assert caught.value.hint == "shorten it"
    assert len(tokens_of(await generate(engine, COUNT, params=SamplingParams(max_tokens=3)))) == 3


@pytest.mark.parametrize(
    ("prompt", "message"), [(RAISE, "ValueError: broken kernel"), (OUT_OF_MEMORY, "ran out of memory")]
)
async def test_an_exception_fails_its_request_alone(engine: EngineClient, prompt: int, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        await generate(engine, prompt)
    assert len(tokens_of(await generate(engine, COUNT, params=SamplingParams(max_tokens=3)))) == 3


async def test_a_killed_worker_is_a_typed_error_and_can_be_restarted(engine: EngineClient, tmp_path: Path) -> None:
    with pytest.raises(EngineDiedError) as caught:
        await generate(engine, KILL)
    assert "SIGKILL" in caught.value.message
    assert "␛[31mlast words" in caught.value.message
    assert "\x1b" not in caught.value.message
    (log,) = (tmp_path / "state").rglob("engine.log")
    assert b"last words" in log.read_bytes()
    assert str(log) in str(caught.value.hint)
    with pytest.raises(EngineDiedError):
        await generate(engine, COUNT)
    assert engine.worker_pid is None
    assert await engine.info() is None

    assert (await load(engine))[-1].done
    assert len(tokens_of(await generate(engine, COUNT, params=SamplingParams(max_tokens=3)))) == 3


async def test_waiting_requests_learn_of_the_death(engine: EngineClient) -> None:
    tasks = [asyncio.create_task(generate(engine, SLOW)) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert engine.worker_pid is not None
    os.kill(engine.worker_pid, signal.SIGKILL)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [EngineDiedError] * 3
    assert (await load(engine))[-1].done, "load starts another worker"


async def test_a_worker_killed_while_it_loads(make_engine: MakeEngine) -> None:
    client = make_engine("slow-load")
    steps = client.load()
    await anext(steps)
    assert client.worker_pid is not None
    os.kill(client.worker_pid, signal.SIGKILL)
    with pytest.raises(EngineDiedError, match="SIGKILL"):
        await anext(steps)


async def test_a_worker_that_cannot_start_says_why(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ctypes.py").write_text("raise ImportError('libffi is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(EngineDiedError, match=r"exit code 1(.|\n)*libffi is broken"):
        await load(make_engine("model"))


async def test_garbage_on_the_socket_ends_the_worker(engine: EngineClient) -> None:
    pid = engine.worker_pid
    assert pid is not None
    with pytest.raises(EngineDiedError, match="above the limit"):
        await generate(engine, GARBAGE)
    assert await gone(pid)


async def test_many_cancels_leave_nothing_behind(engine: EngineClient) -> None:
    for _ in range(50):
        stream = engine.generate([SLOW], ENDLESS)
        await anext(stream)
        await stream.aclose()
    events = await generate(engine, COUNT, params=SamplingParams(max_tokens=5))
    assert len(tokens_of(events)) == 5


async def test_closing_a_load_ends_the_worker(make_engine: MakeEngine) -> None:
    client = make_engine("slow-load")
    steps = client.load()
    assert (await anext(steps)).stage == "reading"
    pid = client.worker_pid
    assert pid is not None
    await steps.aclose()
    assert client.worker_pid is None
    assert await gone(pid)


def workers() -> set[int]:
    """The workers of this process, among them one that nobody holds."""
    return {child.pid for child in psutil.Process().children() if runs(child.pid)}


async def test_loads_at_the_same_time_share_a_worker(make_engine: MakeEngine) -> None:
    before = workers()
    client = make_engine("model")
    await asyncio.gather(load(client), load(client))
    assert workers() - before == {client.worker_pid}


async def test_closing_while_the_worker_starts_leaves_none(make_engine: MakeEngine) -> None:
    before = workers()
    client = make_engine("model")
    loading = asyncio.create_task(load(client))
    await asyncio.sleep(0)
    assert client.worker_pid is None
    await client.close()
    with pytest.raises(EngineError, match="closed while it started"):
        await loading
    assert not workers() - before
    assert (await load(client))[-1].done


async def test_close_is_final_for_open_requests_and_idempotent(engine: EngineClient) -> None:
    task = asyncio.create_task(generate(engine, SLOW))
    await asyncio.sleep(0.05)
    pid = engine.worker_pid
    assert pid is not None
    await engine.close()
    await engine.close()
    with pytest.raises(EngineError, match="closed"):
        await task
    assert await gone(pid)
    with pytest.raises(EngineError, match="not running"):
        await generate(engine, COUNT)


async def test_a_worker_that_hangs_is_killed_by_close(engine: EngineClient) -> None:
    pid = engine.worker_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await engine.close()
    assert await gone(pid)


async def test_the_worker_ends_with_its_front(scripted_environment: None, tmp_path: Path) -> None:
    front = f"""
import asyncio, sys
from pathlib import Path
from gptoss_tui.engine.types import EngineSpec, SamplingParams
from gptoss_tui.engine.worker.client import EngineClient
async def main():
    client = EngineClient(EngineSpec(Path({str(tmp_path)!r}), backend="python:tests.engine.worker.scripted"))
    async for step in client.load(): pass
    async for event in client.generate([{SLOW}], SamplingParams()):
        print(client.worker_pid, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", front, stdout=subprocess.PIPE)
    assert process.stdout is not None
    pid = int(await process.stdout.readline())
    process.kill()
    await process.wait()
    assert await gone(pid)


async def test_a_module_in_the_working_folder_is_not_imported(
    make_engine: MakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queue.py").write_text("raise SystemExit('a stranger ran')")
    monkeypatch.chdir(tmp_path)
    assert (await load(make_engine("model")))[-1].done


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("variable", "default", "own"),
    [("OMP_WAIT_POLICY", "PASSIVE", "ACTIVE"), ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64", "7")],
)
@pytest.mark.parametrize("is_set", [False, True])
async def test_the_libraries_of_the_worker_are_tamed_unless_the_person_says_otherwise(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, variable: str, default: str, own: str, *, is_set: bool
) -> None:
    monkeypatch.delenv(variable, raising=False)
    if is_set:
        monkeypatch.setenv(variable, own)
    client = make_engine("model")
    await load(client)
    environment = await asyncio.to_thread(Path(f"/proc/{client.worker_pid}/environ").read_bytes)
    assert f"{variable}={own if is_set else default}".encode() in environment.split(b"\0")


def test_importing_the_client_imports_no_torch() -> None:
    code = "import sys, gptoss_tui.engine.worker.client; print({'torch', 'textual', 'numpy'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
