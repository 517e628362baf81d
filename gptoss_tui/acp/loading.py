"""Shows the loading of a model to the client as a tool call with progress."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from acp.schema import ToolCallProgress, ToolCallStart

from gptoss_tui.engine.shared import EngineSeat
from gptoss_tui.engine.types import LoadProgress
from gptoss_tui.sanitize import to_terminal_line

Send = Callable[[ToolCallStart | ToolCallProgress], Awaitable[None]]


async def show_load(seat: EngineSeat, model: str, call_id: str, send: Send) -> None:
    """Load the model of `seat`, shown as the tool call `call_id`. Raises the same errors as `Engine.load`."""
    title = f"Loading {to_terminal_line(model)}"
    await send(
        ToolCallStart(session_update="tool_call", tool_call_id=call_id, title=title, kind="other", status="in_progress")
    )
    done = False
    steps: asyncio.Queue[LoadProgress] = asyncio.Queue()
    shown = asyncio.create_task(_show_steps(steps, title, call_id, send))
    try:
        await seat.ready(steps.put_nowait)
        done = True
    finally:
        shown.cancel()
        await asyncio.gather(shown, return_exceptions=True)
        with contextlib.suppress(ConnectionError):
            await send(_step(call_id, title, "completed" if done else "failed"))


async def _show_steps(steps: asyncio.Queue[LoadProgress], title: str, call_id: str, send: Send) -> None:
    """Show the progress in steps of 10%."""
    shown = 0
    while True:
        tenth = int((await steps.get()).fraction * 10)
        if tenth > shown:
            shown = tenth
            await send(_step(call_id, f"{title} ({10 * tenth}%)"))


def _step(call_id: str, title: str, status: str | None = None) -> ToolCallProgress:
    fields = {"session_update": "tool_call_update", "tool_call_id": call_id, "title": title}
    return ToolCallProgress.model_validate(fields | ({"status": status} if status else {}), by_name=True)
