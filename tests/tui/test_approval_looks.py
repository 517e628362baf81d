"""How the approval dialog looks for each kind. `pytest --snapshot-update` accepts a new look; look at it first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from gptoss_tui.tui.theme import DARK, LIGHT
from tests.tui import requests
from tests.tui.approval_app import ApprovalApp, Clock, seen

SIZES = {"small": (80, 24), "wide": (140, 40)}
MORE: dict[str, dict[str, object]] = {
    "edit": {"selectable": True, "source": "*** Begin Patch"},
    "command": {"source": "npm test", "sources": ("docs.example.org",)},
    "python": {"source": "import math"},
    "url": {},
    "mcp": {},
}


@pytest.mark.parametrize("theme", [DARK.name, LIGHT.name])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", requests.ALL)
def test_looks(snap_compare: Callable[..., bool], kind: str, size: str, theme: str) -> None:
    app = ApprovalApp(Clock(), theme)

    async def ask(pilot: Pilot[None]) -> None:
        task = app.ask("item", requests.ALL[kind](), **MORE[kind])
        await seen(pilot, app)
        app.draft.display = False
        await pilot.pause()
        asyncio.get_running_loop().call_soon(task.cancel)

    assert snap_compare(app, terminal_size=SIZES[size], run_before=ask)
