"""Real sandboxes for the tests: bubblewrap wherever there is one, Docker where an engine has a Python image."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gptoss_tui.tools.python.choose import find_tested_bubblewrap, find_tested_docker
from gptoss_tui.tools.python.sandbox import Limits, Sandbox, SandboxError
from gptoss_tui.tools.python.session import PythonSession
from tests.sandboxes import missing

IMAGE = os.environ.get("GPTOSS_TUI_TEST_IMAGE", "gptoss-tui-python")
"""`gptoss-tui sandbox build --offline` makes one."""

Open = Callable[..., PythonSession]


@pytest.fixture(scope="module", autouse=True)
def nothing_stays_open() -> None:
    """The client of a Docker engine keeps some of its connections."""


async def find(name: str, workspace: Path | None = None) -> Sandbox:
    """The sandbox, after its self-test. Skips where there is none and none is required."""
    try:
        if name == "bubblewrap":
            return await find_tested_bubblewrap(workspace)
        return await find_tested_docker(IMAGE, workspace)
    except SandboxError as error:
        missing(f"{name}: {error.message}", name)


@pytest.fixture(params=["bubblewrap", "docker"])
async def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    return await find(request.param)


@pytest.fixture
async def open_session(sandbox: Sandbox) -> AsyncIterator[Open]:
    """Makes sessions with other limits than the usual; they end with the test."""
    sessions: list[PythonSession] = []

    def open_session(**limits: Any) -> PythonSession:
        async def choose() -> Sandbox:
            return sandbox

        sessions.append(PythonSession(choose, Limits(**limits)))
        return sessions[-1]

    yield open_session
    for session in sessions:
        session.reset()
    await asyncio.sleep(0)


@pytest.fixture
def session(open_session: Open) -> PythonSession:
    return open_session(seconds=20.0)


def ignore(text: str) -> None:
    """Takes output that nobody looks at."""


async def run(session: PythonSession, code: str) -> str:
    """What the model reads."""
    return (await session.run(code, ignore)).text
