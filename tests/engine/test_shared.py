"""One engine for several conversations: loaded once, asked in turn, changed when another model is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gptoss_tui.engine import slices
from gptoss_tui.engine.shared import EngineSeat, SharedEngine
from gptoss_tui.engine.types import EngineSpec, Finished, LoadProgress, SamplingParams
from gptoss_tui.errors import CheckpointError, EngineDiedError, EngineError
from tests.agent.scripted_engine import ScriptedEngine
from tests.server.running import until
from tests.server.scripted import ScriptedEngine as Talking

ONE, OTHER = EngineSpec(Path("/one")), EngineSpec(Path("/other"))
PARAMS = SamplingParams(stop_token_ids=(9,))


class Slow(ScriptedEngine):
    """An engine whose load waits until it is let go, or fails."""

    def __init__(self, scripts: list[list[int]], **options: int) -> None:
        super().__init__(scripts, **options)  # type: ignore[arg-type]
        self.began, self.go = asyncio.Event(), asyncio.Event()
        self.loads = 0
        self.closed = 0
        self.problem: CheckpointError | None = None

    async def load(self) -> AsyncIterator[LoadProgress]:
        self.loads += 1
        self.began.set()
        yield LoadProgress("reading", 0.5)
        await self.go.wait()
        if self.problem is not None:
            raise self.problem
        async for progress in super().load():
            yield progress

    async def close(self) -> None:
        self.closed += 1


async def tokens(seat: EngineSeat, prompt: list[int]) -> list[int]:
    """What a generation gives."""
    events = [event async for event in seat.generate(prompt, PARAMS)]
    assert isinstance(events[-1], Finished)
    return [token.id for event in events for token in getattr(event, "tokens", ())]


async def test_all_who_wait_hear_of_one_load() -> None:
    engine = Slow([[1, 9], [2, 9]])
    shared = SharedEngine(lambda spec: engine)
    heard: list[float] = []
    seats = [shared.seat(ONE), shared.seat(ONE)]
    assert await seats[0].info() is None, "nothing is loaded before it is needed"
    waiting = [asyncio.create_task(seat.ready(lambda step: heard.append(step.fraction))) for seat in seats]
    await asyncio.sleep(0)
    engine.go.set()
    await asyncio.gather(*waiting)
    assert (engine.loads, max(heard)) == (1, 1.0)
    assert [await tokens(seat, [5]) for seat in seats] == [[1, 9], [2, 9]]


async def test_who_gives_up_does_not_end_the_load_of_others() -> None:
    engine = Slow([[1, 9]])
    shared = SharedEngine(lambda spec: engine)
    first = asyncio.create_task(shared.seat(ONE).ready())
    await engine.began.wait()
    first.cancel()
    second = asyncio.create_task(tokens(shared.seat(ONE), [5]))
    await asyncio.sleep(0)
    engine.go.set()
    assert await second == [1, 9]
    assert engine.loads == 1


async def test_a_load_that_failed_is_tried_again() -> None:
    engine = Slow([[1, 9]])
    engine.go.set()
    engine.problem = CheckpointError("damaged")
    seat = SharedEngine(lambda spec: engine).seat(ONE)
    with pytest.raises(CheckpointError):
        await seat.ready()
    engine.problem = None
    assert (await seat.ready()).model == "scripted"


async def test_generations_go_in_the_order_in_which_they_came() -> None:
    engine = ScriptedEngine([[n, 9] for n in range(4)])
    shared = SharedEngine(lambda spec: engine)
    seats = [shared.seat(ONE) for _ in range(4)]
    assert await asyncio.gather(*(tokens(seat, [n]) for n, seat in enumerate(seats))) == [[n, 9] for n in range(4)]
    assert [request.prompt for request in engine.requests] == [(n,) for n in range(4)]


async def test_a_seat_cancels_only_its_own() -> None:
    class Cancelling(ScriptedEngine):
        cancels = 0

        async def cancel(self) -> None:
            self.cancels += 1

    engine = Cancelling([[1, 2, 9]])
    shared = SharedEngine(lambda spec: engine)
    one, other = shared.seat(ONE), shared.seat(ONE)
    generation = one.generate([5], PARAMS)
    await anext(generation)
    await other.cancel()
    assert engine.cancels == 0
    await one.cancel()
    assert engine.cancels == 1
    await generation.aclose()
    await one.cancel()
    assert engine.cancels == 1


def sliced(monkeypatch: pytest.MonkeyPatch, words: int = 60) -> Talking:
    """An engine whose answers are many words, and which is given back as soon as somebody waits."""
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(slices, "RETURN_SHARE", 0)
    return Talking(lambda prompt: f" after {prompt}" * words)


async def test_long_generations_take_turns_and_say_what_they_would_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = sliced(monkeypatch)
    shared = SharedEngine(lambda spec: engine)
    alone = [await tokens(shared.seat(ONE), [n]) for n in (5, 6, 7)]
    assert engine.slices == 3, "nobody waited"
    assert await asyncio.gather(*(tokens(shared.seat(ONE), [n]) for n in (5, 6, 7))) == alone
    assert engine.slices > 12
    assert engine.most == 1


async def test_scorings_take_turns_and_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = sliced(monkeypatch)
    shared = SharedEngine(lambda spec: engine)
    every = [[n] * 50 for n in (5, 6, 7)]

    async def followers(ids: list[int]) -> list[int | None]:
        return [position.next async for batch in shared.seat(ONE).score(ids) for position in batch]

    assert await asyncio.gather(*map(followers, every)) == [[*ids[1:], None] for ids in every]
    assert engine.scorings > 12


async def test_another_model_waits_for_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coming back behind it would take two loads."""
    engines = {ONE: sliced(monkeypatch), OTHER: sliced(monkeypatch)}
    shared = SharedEngine(engines.__getitem__)
    await asyncio.gather(*(tokens(shared.seat(spec), [n]) for n, spec in enumerate((ONE, OTHER, ONE))))
    assert [engines[spec].slices for spec in (ONE, OTHER)] == [2, 1]


@pytest.mark.parametrize("running", [True, False], ids=["its turn", "not its turn"])
async def test_a_generation_in_turns_is_stopped_whose_turn_it_is(
    running: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends as cancelled, and the other one as it would."""
    engine = sliced(monkeypatch, words=400)
    shared = SharedEngine(lambda spec: engine)
    seats = [shared.seat(ONE), shared.seat(ONE)]
    ends: list[Finished] = []
    said: list[int] = []

    async def stopped() -> None:
        async for event in seats[0].generate([5], PARAMS):
            said.append(engine.slices)
            if isinstance(event, Finished):
                ends.append(event)
            if running and engine.slices > 5:
                await seats[0].cancel()

    other = asyncio.create_task(tokens(seats[1], [6]))
    task = asyncio.create_task(stopped())
    if not running:
        await until(lambda: engine.slices > 5 and said[-1:] != [engine.slices])
        await seats[0].cancel()
    await task
    assert [end.reason for end in ends] == ["cancelled"]
    assert not other.done()
    assert len(await other) == len(await tokens(seats[0], [6]))


async def test_a_model_that_ends_as_soon_as_it_is_loaded_is_an_error() -> None:
    """Not a reason to load it for ever."""

    class Dying(Slow):
        async def info(self) -> None:  # type: ignore[override]
            return None

    engine = Dying([[1, 9]])
    engine.go.set()
    with pytest.raises(EngineDiedError, match="as soon as"):
        await tokens(SharedEngine(lambda spec: engine).seat(ONE), [5])
    assert engine.loads == 1


async def test_a_load_that_failed_is_no_concern_of_who_wants_another_model() -> None:
    engines = {ONE: Slow([]), OTHER: Slow([[2, 9]])}
    shared = SharedEngine(engines.__getitem__)
    first = asyncio.create_task(shared.seat(ONE).ready())
    await engines[ONE].began.wait()
    first.cancel()
    engines[ONE].problem = CheckpointError("damaged")
    second = asyncio.create_task(tokens(shared.seat(OTHER), [5]))
    await asyncio.sleep(0)
    for engine in engines.values():
        engine.go.set()
    assert await second == [2, 9]


async def test_another_model_takes_the_place_of_the_first() -> None:
    engines = {ONE: Slow([[1, 9], [1, 9]]), OTHER: Slow([[2, 9]])}
    for engine in engines.values():
        engine.go.set()
    shared = SharedEngine(engines.__getitem__)
    one, other = shared.seat(ONE), shared.seat(OTHER)
    await one.ready()
    assert await tokens(one, [5]) == [1, 9]
    assert await tokens(other, [5]) == [2, 9]
    assert engines[ONE].closed == 1
    info = await one.info()
    assert info is not None
    assert info.cached_tokens == 0, "the conversation can go on, and is read again"
    assert await tokens(one, [5]) == [1, 9]
    assert engines[OTHER].closed == 1


async def test_closing_ends_a_load_and_everything_after_it() -> None:
    engine = Slow([])
    shared = SharedEngine(lambda spec: engine)
    waiting = asyncio.create_task(shared.seat(ONE).ready())
    await engine.began.wait()
    await shared.close()
    with pytest.raises(EngineError, match="closed"):
        await waiting
    with pytest.raises(EngineError, match="closed"):
        await shared.seat(ONE).ready()
    assert engine.closed == 1
