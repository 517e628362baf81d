"""A program that plays one text through every sink of the app in a real terminal, and ends by itself.

Run as `python -m tests.tui.hostile_app NAME`: NAME is `hostile` or `harmless`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from textual.events import Paste
from textual.widgets import Input

from gptoss_tui.agent import events as ev
from gptoss_tui.engine.types import EngineInfo, LoadProgress
from gptoss_tui.errors import CheckpointError
from gptoss_tui.tools.base import Citation
from gptoss_tui.tools.update_plan import StepStatus
from gptoss_tui.tui.app import GptOssApp
from gptoss_tui.tui.options import Options
from gptoss_tui.tui.panes.base import ItemView
from gptoss_tui.tui.screens.page import PageScreen
from gptoss_tui.tui.widgets.grace import GRACE_SECONDS
from tests.tui.screen import composer, panel, transcript
from tests.tui.scripted_agent import INFO, ScriptedAgent, ScriptedBackend, ScriptedEngine, Step, step_finished

MARK = "pwned"
HOSTILE = "".join(
    (
        f"\x1b]52;c;{MARK}\x07",
        f"\x1b]0;{MARK}\x07",
        f"\x1b]8;;http://{MARK}\x1b\\link\x1b]8;;\x1b\\",
        "\x1b[6n\x1b[2J\x1bc",
        f"\x1bP{MARK}\x1b\\\x1b_{MARK}\x1b\\",
        f"\x9b31m\x9d0;{MARK}\x9c",
        "\x00\x07\x08\x0e\x7f\r",
        "\u202e\u200b\U000e0041\u2028",
        "\ud800\udcff",
        "e" + "\u0301" * 40 + "漢👩‍👩‍👧",
        f"[@click=app.quit]{MARK}[/] [red]{MARK}[/red] [/] [link={MARK}]",
    )
)
HARMLESS = "harmless"


class TalkingEngine(ScriptedEngine):
    """Says the text while it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    async def load(self) -> AsyncIterator[LoadProgress]:
        self.loads += 1
        yield LoadProgress(self.text, 0.3)
        await asyncio.sleep(0.2)
        if self.loads == 1:
            raise CheckpointError(self.text, hint=self.text)
        yield LoadProgress(self.text, 1.0, done=True, info=dataclasses.replace(INFO, model=self.text, device=self.text))

    async def info(self) -> EngineInfo | None:
        return INFO


def every_other_event(text: str, known: Sequence[Step]) -> list[Step]:
    """One of each kind of event that `known` leaves out, with `text` wherever a string may stand."""
    kinds = [kind for kind in ev.Event.__subclasses__() if kind not in {type(step) for step in known}]
    return [
        kind(**{f.name: _filled(f.name, get_type_hints(kind)[f.name], text) for f in dataclasses.fields(kind)})
        for kind in kinds
    ]


def _filled(name: str, hint: Any, text: str) -> Any:
    """A value of type `hint`."""
    if name == "turn_id":
        return ""
    if get_origin(hint) is Literal:
        return get_args(hint)[0]
    if get_origin(hint) is tuple:
        return (_filled("", get_args(hint)[0], text),)
    if get_origin(hint) in (Union, UnionType):
        return _filled(name, get_args(hint)[0], text)
    if dataclasses.is_dataclass(hint):
        hints = get_type_hints(hint)
        return hint(**{f.name: _filled("", hints[f.name], text) for f in dataclasses.fields(hint)})
    if get_origin(hint) in (dict, Mapping):
        return {}
    return {str: text, int: 1, float: 0.1, bool: True}[hint]


def script(text: str) -> list[Step]:
    """Every kind of event, with `text` in every field that can hold one."""
    diff = f"--- a/{text}\n+++ b/{text}\n@@ -1 +1 @@ {text}\n-{text}\n+{text}\n{text}\n"
    prose = f"# {text}\n\n{text} `{text}` [{text}]({text}) <{text}>"
    far = f"https://{MARK}.example/{text}"
    sharp = f"{prose} [{text}]({far})\n\n```{text}\n{text}\n```\n\n| {text} |\n|---|\n| {text} |"
    steps: list[Step] = [
        ev.PromptProgress(step=1, total=10, done=5, cached=0),
        *(ev.ReasoningDelta(item_id="r", text=character) for character in text),
        ev.ReasoningDone(item_id="r", text=text, tokens=3, seconds=0.1),
        *(ev.AnswerDelta(item_id="p", text=character, preamble=True) for character in sharp),
        ev.AnswerDone(item_id="p", text=sharp, tokens=3, seconds=0.1, preamble=True),
        ev.AnswerCited(
            item_id="p",
            citations=(
                Citation(1, text, text, 1, 2, (0, 3), 0),
                Citation(2, text, far, 1, 2, (9, 12), 1),
                Citation(0, "", "", 1, 1, (3, 9)),
            ),
        ),
        ev.ToolCallDelta(item_id="c", tool=text, text=text),
        ev.ToolCall(item_id="c", tool=text, arguments=text, summary=text),
        ev.ApprovalRequest(
            item_id="c",
            tool=text,
            kind=text,
            title=text,
            preview=diff,
            preview_type="diff",
            digest="d",
            paths=(text,),
            warnings=(text, text),
            details=((text, text),),
            reasons=(text,),
            sources=(text,),
            grants=(text,),
        ),
        "decision",
        ev.ToolCall(item_id="d", tool=text, arguments=text, summary=text),
        ev.ToolStarted(item_id="d", tool=text, preview=text, preview_type="command"),
        ev.ToolOutputDelta(item_id="d", text=text),
        ev.ToolFinished(item_id="d", tool=text, status="error", output=text + "x" * 100_000, seconds=0.1),
        ev.ToolCall(item_id="e", tool="update_plan", arguments=_plan(text), summary=text),
        ev.ToolFinished(item_id="e", tool="update_plan", status="ok", output=text, seconds=0.1),
        ev.Recovered(item_id="x", what=text),
        ev.Notice(text=text, hint=text),
        ev.RawTokens(text=text),
        step_finished(),
    ]
    end = ev.TurnFinished(reason="failed", answer=text, error=text, hint=text)
    return [
        *steps,
        *every_other_event(
            text, [*steps, end, ev.TurnStarted(text=""), ev.ApprovalResolved(item_id="", decision="once", by="")]
        ),
        end,
    ]


def _plan(text: str) -> str:
    steps = [{"step": text, "status": status} for status in get_args(StepStatus)]
    return json.dumps({"explanation": text, "plan": steps})


async def reached(condition: Callable[[], bool]) -> None:
    """Wait for a state of the app, and then for its frame."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.4)


async def drive(app: GptOssApp, text: str) -> None:
    """Play the part of the person."""
    await reached(lambda: composer(app).text != "")  # loading failed, and the prompt came back as a draft
    composer(app).action_submit()
    await reached(lambda: panel(app).grace.is_shown)
    await asyncio.sleep(GRACE_SECONDS * 2)
    app.simulate_key("n")
    await reached(lambda: not any(block.live for block in transcript(app).blocks) and panel(app).request is None)
    chat = app.screen_stack[0]
    for action in ("toggle_reasoning", "toggle_details"):
        await chat.run_action(action)
        await asyncio.sleep(0.1)
    for key in ("f4", "f5"):
        app.simulate_key(key)
        await asyncio.sleep(0.2)
    citations = app.screen.query_one("#citations-items", ItemView)
    citations.focus()
    await reached(lambda: app.focused is citations)
    app.simulate_key("enter")
    await reached(lambda: isinstance(app.screen, PageScreen))
    app.simulate_key("escape")
    await reached(lambda: app.screen is chat)
    app.simulate_key("f3")
    await reached(lambda: isinstance(app.focused, Input))
    app.screen.query_one(Input).post_message(Paste(text))
    await asyncio.sleep(0.2)
    app.screen.query_one(Input).value = MARK if MARK in text else "harm"
    await asyncio.sleep(0.3)
    app.simulate_key("escape")
    await asyncio.sleep(0.1)
    app.simulate_key("escape")
    await reached(lambda: app.focused is composer(app))
    composer(app).post_message(Paste(text))
    composer(app).set_draft(text)
    transcript(app).scroll_home(animate=False)
    await asyncio.sleep(0.3)
    app.exit()


def main() -> None:
    text = HOSTILE if sys.argv[1] == "hostile" else HARMLESS
    agent = ScriptedAgent([script(text)], page=(text,) * 40)
    workspace = text.replace("\ud800", "").replace("\0", "")  # the name of a folder can have no such characters
    app = GptOssApp(ScriptedBackend(agent, TalkingEngine(text)), Options(prompt=text, workspace=workspace))  # type: ignore[arg-type]
    app.call_later(lambda: app.run_worker(drive(app, text)))
    app.run()


if __name__ == "__main__":
    main()
