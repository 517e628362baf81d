"""What the main states look like, in two sizes and two themes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.tui.scripted_agent import Clock, ScriptedEngine, make_app
from tests.tui.states import PAGE, SMALL, STATES, THEMES, State, session, still, welcome

pytestmark = pytest.mark.slow

CASES = [(state, size, theme) for state in STATES for size in state.sizes for theme in THEMES]


@pytest.mark.parametrize(
    ("state", "size", "theme"),
    CASES,
    ids=[f"{state.name}-{size[0]}x{size[1]}-{theme.removeprefix('gptoss-')}" for state, size, theme in CASES],
)
def test_looks(snap_compare: Callable[..., bool], state: State, size: tuple[int, int], theme: str) -> None:
    app, agent = make_app(session(), clock=Clock())
    agent.page = PAGE
    assert snap_compare(app, terminal_size=size, run_before=still(state.act, theme))


@pytest.mark.parametrize("theme", THEMES)
def test_looks_when_loading_failed(snap_compare: Callable[..., bool], theme: str) -> None:
    from gptoss_tui.errors import MemoryPlanError

    failure = MemoryPlanError(
        "gpt-oss-120b needs 66 GB and this machine has 24 GB free; nothing was loaded",
        hint="Choose a smaller model with --model, or a shorter --context.",
    )
    app, _ = make_app(engine=ScriptedEngine(failure=failure))
    assert snap_compare(app, terminal_size=SMALL, run_before=still(welcome, theme))
