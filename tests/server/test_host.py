"""The engine of a server that cannot be loaded: what is told, and that it is tried again."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from gptoss_tui.engine.types import LoadProgress
from gptoss_tui.errors import CheckpointError, EngineError, GptOssError
from gptoss_tui.harmony.tokenizer import load_tokenizer
from gptoss_tui.server.errors import ApiError
from gptoss_tui.server.host import EngineHost
from tests.server.running import until
from tests.server.scripted import ScriptedEngine, final


class Failing(ScriptedEngine):
    """Fails to load as long as there is a `failure`."""

    def __init__(self, failure: Exception) -> None:
        super().__init__(final("Hello."))
        self.failure: Exception | None = failure

    async def load(self) -> AsyncGenerator[LoadProgress, None]:
        yield LoadProgress("reading", 0.5)
        if self.failure is not None:
            raise self.failure
        async for progress in super().load():
            yield progress


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (CheckpointError("the file is damaged"), "the file is damaged"),
        (RuntimeError("/home/me/secret"), "The engine failed to load (RuntimeError)"),
        (RecursionError(), "The engine failed to load (RecursionError)"),
    ],
    ids=["known", "unknown", "deep"],
)
async def test_whatever_fails_is_an_error_that_requests_hear_of_and_is_tried_again(
    failure: Exception, told: str
) -> None:
    engine = Failing(failure)
    host = EngineHost(engine, load_tokenizer())
    with pytest.raises(GptOssError) as caught:
        await host.load()
    assert caught.value is host.problem
    assert isinstance(caught.value, type(failure) if isinstance(failure, GptOssError) else EngineError)
    assert host.state == "failed"
    engine.failure = None
    with pytest.raises(ApiError) as refused:
        host.loaded()
    assert (refused.value.status, refused.value.message) == (503, told)
    await until(lambda: host.state == "ready")
    assert host.loaded().model == "scripted"
    await host.close()


async def test_what_fails_in_the_background_is_kept_for_the_next_request() -> None:
    host = EngineHost(Failing(ValueError("x")), load_tokenizer())
    host.begin()
    assert host.state == "loading"
    await until(lambda: host.state == "failed")
    assert host.problem is not None
    assert host.problem.message == "The engine failed to load (ValueError)"
    await host.close()
