"""How the app looks in its main states. `pytest --snapshot-update` accepts a new look; look at it first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot

from gptoss_tui.agent import events as ev
from gptoss_tui.tui.app import GptOssApp
from tests.tui.conftest import until
from tests.tui.screen import composer, conversation, panel, status
from tests.tui.scripted_agent import (
    Clock,
    ScriptedEngine,
    Step,
    answer_script,
    edit_script,
    make_app,
    reasoning_script,
)

SMALL, WIDE = (80, 24), (160, 50)
THOUGHT = """\
The user wants another greeting. I look at hello.py first, then change the line that prints.

One line goes, one line comes."""
ANSWER = """\
I changed the greeting in `hello.py`. What it does now:

## How it works

1. `greet()` prints **hello**
2. it returns `0`, so the shell sees *success*

```python
def greet() -> int:
    print("hello")
    return 0
```

| file | change |
|---|---|
| hello.py | one line |"""


def turn() -> list[Step]:
    """A thought, a file read, an edit that waits, and an answer."""
    read = [
        ev.ToolCall(item_id="c0", tool="read_file", arguments='{"path": "hello.py"}', summary="read_file hello.py"),
        ev.ToolStarted(item_id="c0", tool="read_file"),
        ev.ToolFinished(
            item_id="c0",
            tool="read_file",
            status="ok",
            output='[hello.py: lines 1-3 of 3]\ndef greet():\n    print("hi")\n    return 0',
            seconds=0.02,
        ),
    ]
    return [*reasoning_script(THOUGHT), *read, *edit_script(), *answer_script(ANSWER)]


def still(act: Callable[[Pilot[int]], Awaitable[None]]) -> Callable[[Pilot[int]], Awaitable[None]]:
    """`act` in an app whose cursor does not blink."""

    async def run(pilot: Pilot[int]) -> None:
        composer(app_of(pilot)).cursor_blink = False
        await until(pilot, lambda: "ready" in status(app_of(pilot)) or "no model" in status(app_of(pilot)))
        await act(pilot)
        await pilot.pause()

    return run


def app_of(pilot: Pilot[int]) -> GptOssApp:
    app = pilot.app
    assert isinstance(app, GptOssApp)
    return app


async def nothing(pilot: Pilot[int]) -> None:
    """The state after loading."""


async def ask(pilot: Pilot[int]) -> None:
    await pilot.press(*"change the greeting", "enter")
    await until(pilot, lambda: panel(app_of(pilot)).grace.is_shown)
    await until(pilot, lambda: "waits for your answer" in conversation(app_of(pilot)))


async def finish(pilot: Pilot[int]) -> None:
    await ask(pilot)
    app_of(pilot)._clock.now += 1  # type: ignore[attr-defined]
    await pilot.press("y")
    await until(pilot, lambda: "30 tokens" in conversation(app_of(pilot)))
    await until(pilot, lambda: "ready" in status(app_of(pilot)))


async def light(pilot: Pilot[int]) -> None:
    app_of(pilot).theme = "gptoss-light"
    await finish(pilot)


async def help_keys(pilot: Pilot[int]) -> None:
    await pilot.press("f1")


STATES = [("welcome", SMALL, nothing), ("approval", SMALL, ask), ("help", SMALL, help_keys)]
STATES += [("turn", WIDE, finish), ("turn_light", WIDE, light)]


@pytest.mark.parametrize(("size", "act"), [state[1:] for state in STATES], ids=[state[0] for state in STATES])
def test_looks(
    snap_compare: Callable[..., bool], size: tuple[int, int], act: Callable[[Pilot[int]], Awaitable[None]]
) -> None:
    app, _ = make_app(turn(), clock=Clock())
    assert snap_compare(app, terminal_size=size, run_before=still(act))


def test_looks_when_loading_failed(snap_compare: Callable[..., bool]) -> None:
    from gptoss_tui.errors import MemoryPlanError

    failure = MemoryPlanError(
        "gpt-oss-120b needs 66 GB and this machine has 24 GB free; nothing was loaded",
        hint="Choose a smaller model with --model, or a shorter --context.",
    )
    app, _ = make_app(engine=ScriptedEngine(failure=failure))
    assert snap_compare(app, terminal_size=SMALL, run_before=still(nothing))
