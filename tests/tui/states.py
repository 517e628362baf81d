"""The main states of the app, played by a scripted agent: for snapshots and for the pictures of the documentation."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from textual.pilot import Pilot
from textual.widgets import Input

from gptoss_tui.agent import events as ev
from gptoss_tui.agent.commands import SessionSummary
from gptoss_tui.engine.planning.here import Place
from gptoss_tui.tools.base import Citation
from gptoss_tui.tui.app import GptOssApp
from tests.tui.conftest import until
from tests.tui.screen import composer, conversation, panel, status
from tests.tui.scripted_agent import Step, answer_script, edit_script, reasoning_script

Act = Callable[[Pilot[int]], Awaitable[None]]

SMALL, WIDE = (80, 24), (160, 50)
THEMES = ("gptoss-dark", "gptoss-light")

QUESTION = "Why does the cache test fail? Fix it, and say where TTLs are documented."
THOUGHT = """\
The test expects an entry to be gone after its time to live. I read cache.py first.

`get` compares with `<`, so an entry that is exactly as old as its TTL still counts as fresh. The documentation says \
that it does not. One line has to change, and the test should pass."""
SECOND_THOUGHT = "The tests pass now. I answer, and cite the page on expiry for the rule."
SOURCE = '''\
[cache.py: lines 1-12 of 12]
class Cache:
    """Values that expire."""

    def __init__(self, clock):
        self.clock = clock
        self.entries = {}

    def get(self, key):
        value, born, ttl = self.entries[key]
        if self.clock() - born < ttl:
            return value
        raise KeyError(key)'''
DIFF = """\
--- a/cache.py
+++ b/cache.py
@@ -7,6 +7,6 @@ class Cache:
     def get(self, key):
         value, born, ttl = self.entries[key]
-        if self.clock() - born < ttl:
+        if born + ttl > self.clock():
             return value
         raise KeyError(key)
"""
TESTS = """\
.......F                                                                 [100%]
E       AssertionError: 'a' is still there after 10.0 s

1 failed, 7 passed in 0.31s
[exit code 1]"""
PASSED = """\
........                                                                 [100%]
8 passed in 0.29s"""
ANSWER = """\
The entry was **one tick too old**: rounding made `clock() - born` a little smaller than the TTL.

## What changed

`get` now compares two *points in time*, as the documentation asks for【1†L4-L6】:

```python
if born + ttl > self.clock():
    return value
```

| check | before | now |
|---|---|---|
| fresh entry | returned | returned |
| exactly at its TTL | returned | `KeyError` |

- all 8 tests pass
- the rule on clocks that go backwards is separate【2†L2】"""
PAGE = (
    "Expiry",
    "",
    "Every entry has a time to live, in seconds.",
    "",
    "An entry is expired from the moment at which its birth plus its time to live is reached.",
    "Implementations compare points in time, never differences: a difference of floats may",
    "round down, and an entry would live one tick too long.",
    "",
    "Entries without a time to live stay until they are evicted.",
)


def _call(item: str, tool: str, summary: str, output: str, *, status: ev.ToolStatus = "ok", took: float) -> list[Step]:
    arguments = f'{{"{"command" if tool == "shell" else "path"}": "{summary}"}}'
    code = 1 if status == "error" else None
    return [
        ev.ToolCall(item_id=item, tool=tool, arguments=arguments, summary=f"{tool} {summary}"),
        ev.ApprovalResolved(item_id=item, decision="once", by="policy"),
        ev.ToolStarted(item_id=item, tool=tool),
        ev.ToolFinished(
            item_id=item,
            tool=tool,
            status=status,
            output=output,
            seconds=took,
            exit_code=code,
        ),
    ]


def session() -> list[Step]:
    """Thoughts, a file, a command that fails, an edit that waits for its answer, a command that goes well, sources."""
    at = ANSWER.index("【1"), ANSWER.index("】") + 1
    second = ANSWER.index("【2"), ANSWER.rindex("】") + 1
    citations = (
        Citation(1, "Expiry and time to live", "https://docs.example.com/cache/expiry", 4, 6, at, 0),
        Citation(2, "Clocks", "https://docs.example.com/cache/clocks", 2, 2, second, 1),
    )
    answer = answer_script(ANSWER)
    return [
        *reasoning_script(THOUGHT),
        *_call("c0", "read_file", "cache.py", SOURCE, took=0.02),
        *_call("c2", "shell", "pytest -q", TESTS, status="error", took=1.4),
        *edit_script(diff=DIFF, path="cache.py"),
        *_call("c3", "shell", "pytest -q", PASSED, took=1.2),
        *reasoning_script(SECOND_THOUGHT, item="r2"),
        *answer[:-1],
        ev.AnswerCited(item_id="a1", citations=citations),
        answer[-1],
    ]


SAVED = (
    (QUESTION, 0, 3, "/home/ada/project"),
    ("Rename the option --depth to --levels everywhere", 2, 7, "/home/ada/project"),
    ("Which of our licences are copyleft?", 24 * 3, 1, "/home/ada/thesis"),
)


@dataclass(frozen=True, slots=True)
class State:
    """A state by name, how to get there, and the sizes that it is looked at."""

    name: str
    act: Act
    sizes: tuple[tuple[int, int], ...] = (SMALL, WIDE)


def app_of(pilot: Pilot[int]) -> GptOssApp:
    app = pilot.app
    assert isinstance(app, GptOssApp)
    return app


def still(act: Act, theme: str) -> Act:
    """`act` in a theme, in an app whose cursor does not blink."""

    async def run(pilot: Pilot[int]) -> None:
        app = app_of(pilot)
        composer(app).cursor_blink = False
        await until(pilot, lambda: "ready" in status(app) or "no model" in status(app))
        await until(pilot, lambda: " project " in str(composer(app).border_subtitle))
        app.theme = theme
        await act(pilot)
        await pilot.pause()

    return run


async def welcome(pilot: Pilot[int]) -> None:
    """The state after loading."""


async def asked(pilot: Pilot[int]) -> None:
    composer(app_of(pilot)).set_draft(QUESTION)
    await pilot.press("enter")
    await until(pilot, lambda: panel(app_of(pilot)).grace.is_shown)
    await until(pilot, lambda: "waits for your answer" in conversation(app_of(pilot)))


async def finished(pilot: Pilot[int]) -> None:
    await asked(pilot)
    app_of(pilot)._clock.now += 1  # type: ignore[attr-defined]
    await pilot.press("y")
    await until(pilot, lambda: "30 tokens" in conversation(app_of(pilot)))
    await until(pilot, lambda: "ready" in status(app_of(pilot)))


async def panes(pilot: Pilot[int]) -> None:
    """All panes of a wide screen; on a narrow one the tools stand in for the conversation."""
    await finished(pilot)
    if pilot.app.size.width >= 120:
        await pilot.press("f4", "f5", "f6", "f6", "up")
    else:
        await pilot.press("f4", "up")


async def searching(pilot: Pilot[int]) -> None:
    await finished(pilot)
    await pilot.press("f3")
    await until(pilot, lambda: pilot.app.screen.query("#search-text"))
    await pilot.press(*"ttl", "enter", "n")


async def page(pilot: Pilot[int]) -> None:
    await finished(pilot)
    await pilot.press("f5", *(("f6", "f6") if pilot.app.size.width >= 120 else ()), "up", "enter")
    await until(pilot, lambda: pilot.app.screen.query("#page"))
    await pilot.pause()


async def changes(pilot: Pilot[int]) -> None:
    """What the conversation changed, as diffs."""
    await finished(pilot)
    composer(app_of(pilot)).set_draft("/diff")
    await pilot.press("enter")
    await until(pilot, lambda: bool(pilot.app.screen.query("#changes")))
    await pilot.pause()


async def keys(pilot: Pilot[int]) -> None:
    await pilot.press("f1")


async def commands(pilot: Pilot[int]) -> None:
    """What is offered behind a slash."""
    await pilot.press("slash", "e")
    await until(pilot, lambda: pilot.app.screen_stack[0].query_one("#completion").display)


async def palette(pilot: Pilot[int]) -> None:
    await _picker(pilot, "ctrl+p")


async def themes(pilot: Pilot[int]) -> None:
    await _picker(pilot, *"/theme", "enter")


async def earlier(pilot: Pilot[int]) -> None:
    """The messages of the conversation, to go back to one of them."""
    await finished(pilot)
    await _picker(pilot, "escape", "escape")


async def models(pilot: Pilot[int]) -> None:
    """The models of a machine with 24 GB of free memory and no GPU that has none but the built-in one."""
    nowhere = {"GPTOSS_MODELS_DIR": "/nonexistent", "HF_HUB_CACHE": "/nonexistent"}
    with (
        patch.dict(os.environ, nowhere),
        patch("gptoss_tui.engine.planning.memory.available_memory", lambda: 24 * 10**9),
        patch("gptoss_tui.engine.planning.here.places_here", lambda held=0: (Place("native"),)),
    ):
        await _picker(pilot, *"/model", "enter")
        await pilot.press("down")


async def sessions(pilot: Pilot[int]) -> None:
    """Saved conversations, the newest first, with what was said in the one that is selected."""
    agent = app_of(pilot).screen_stack[0]._chat.agent  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        agent.saved = [_saved(Path(folder), number, *one) for number, one in enumerate(SAVED)]
        await _picker(pilot, *"/resume", "enter")


def _saved(folder: Path, number: int, title: str, hours: float, turns: int, workspace: str) -> SessionSummary:
    path = folder / f"{number}.jsonl"
    created = "2026-01-02T03:04:05"
    header = {"id": f"s{number}", "created": created, "app": "1", "model": "gpt-oss-20b", "workspace": workspace}
    events = (
        {"type": "session", "v": 1, **header, "date": "2026-01-02"},
        {"type": "turn_started", "turn_id": "t1", "text": title},
        {"type": "answer_done", "turn_id": "t1", "text": ANSWER.split("\n")[0]},
    )
    path.write_text("\n".join(map(json.dumps, events)) + "\n")
    when = (datetime.now() - timedelta(hours=hours)).isoformat(timespec="seconds")
    return SessionSummary(f"s{number}", title, created, when, turns, workspace, "gpt-oss-20b", path)


async def context(pilot: Pilot[int]) -> None:
    await finished(pilot)
    await pilot.press(*"/context", "enter")
    await until(pilot, lambda: pilot.app.screen.query("#context"))


async def _picker(pilot: Pilot[int], *keys: str) -> None:
    await pilot.press(*keys)
    await until(pilot, lambda: pilot.app.screen.query("#picker-list"))
    pilot.app.screen.query_one(Input).cursor_blink = False
    await until(pilot, lambda: pilot.app.screen.query_one("#picker-list").virtual_size.height)


STATES = (
    State("welcome", welcome),
    State("approval", asked),
    State("turn", finished),
    State("panes", panes),
    State("search", searching),
    State("page", page),
    State("changes", changes, (SMALL,)),
    State("help", keys, (SMALL,)),
    State("commands", commands, (SMALL,)),
    State("palette", palette, (SMALL,)),
    State("theme", themes, (SMALL,)),
    State("earlier", earlier, (WIDE,)),
    State("models", models),
    State("sessions", sessions),
    State("context", context, (SMALL,)),
)
