"""Settings to an agent: tools, prompt, sampling, limits."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from gptoss_tui.agent.agent import Agent
from gptoss_tui.agent.factory import build_agent, build_registry
from gptoss_tui.agent.session import DIRECTORY_VARIABLE, SessionStore, load_session
from gptoss_tui.errors import UsageError
from gptoss_tui.harmony.tokenizer import load_tokenizer
from gptoss_tui.settings import Settings
from gptoss_tui.tools.workspace import open_workspace
from tests.agent.helpers import ANSWER, make_engine, run_turn
from tests.agent.scripted_engine import ScriptedEngine


def build(engine: ScriptedEngine, settings: Settings, directory: Path) -> Agent:
    return build_agent(settings, engine, load_tokenizer(), session_store=SessionStore(directory))


async def test_what_the_model_is_told_follows_from_the_settings(tmp_path: Path) -> None:
    engine = make_engine(ANSWER)
    settings = Settings(workspace=tmp_path, reasoning_effort="high", developer_message="Speak like a pirate.")
    agent = build(engine, settings, tmp_path / "s")
    await run_turn(agent)
    prompt = load_tokenizer().decode(engine.requests[0].prompt)
    assert "Reasoning: high" in prompt
    assert f"Current date: {date.today().isoformat()}" in prompt
    assert prompt.index("apply_patch") < prompt.index("Speak like a pirate.")
    assert agent.session_path is not None
    assert load_session(agent.session_path).header.date == date.today().isoformat()


@pytest.mark.parametrize(
    ("settings", "temperature"),
    [(Settings(), 0.0), (Settings(temperature=0.7), 0.7), (Settings(model="gpt-oss-20b"), 1.0)],
)
async def test_sampling(tmp_path: Path, settings: Settings, temperature: float) -> None:
    engine = make_engine(ANSWER)
    settings = Settings(model=settings.model, temperature=settings.temperature, seed=5, max_tokens=64, top_p=0.9)
    await run_turn(build(engine, settings, tmp_path))
    params = engine.requests[0].params
    assert (params.temperature, params.top_p, params.seed, params.max_tokens) == (temperature, 0.9, 5, 56)


def test_tools_by_flag(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path)
    assert build_registry(Settings(), workspace).names == ("apply_patch", "read_file", "list_files", "search_files")
    assert "apply_patch" not in build_registry(Settings(apply_patch=False), workspace).names
    assert build_registry(Settings(), workspace).namespaces == ()


async def test_built_in_tools_by_flag(tmp_path: Path) -> None:
    settings = Settings(workspace=tmp_path, browser=True, python=True)
    registry = build_registry(settings, open_workspace(tmp_path))
    assert registry.names[-4:] == ("python", "browser.search", "browser.open", "browser.find")
    engine = make_engine(ANSWER)
    await run_turn(build(engine, settings, tmp_path))
    prompt = load_tokenizer().decode(engine.requests[0].prompt)
    assert prompt.index("## browser") < prompt.index("sources=web") < prompt.index("## python")


def test_a_browser_folder_that_is_none_is_bad_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a folder"):
        build_registry(Settings(browser=True, browser_folder=tmp_path / "gone"), open_workspace(tmp_path))


def test_a_workspace_that_is_no_folder_is_bad_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a folder"):
        build(make_engine(), Settings(workspace=tmp_path / "gone"), tmp_path)


async def test_sessions_go_to_the_users_folder_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "mine"))
    agent = build_agent(Settings(workspace=tmp_path), make_engine(ANSWER), load_tokenizer())
    await run_turn(agent)
    assert agent.session_path is not None
    assert agent.session_path.parent == tmp_path / "mine"


def test_edit_file_is_for_models_other_than_nano(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path)

    def offered(**values: Any) -> bool:
        return "edit_file" in build_registry(Settings(**values), workspace).names

    assert not offered()
    assert offered(model="gpt-oss-20b")
    assert not offered(model="gpt-oss-20b", apply_patch=False)
    assert not offered(model="gpt-oss-20b", edit_file=False)
    assert offered(edit_file=True)


def test_a_plan_is_for_models_other_than_nano(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path)

    def offered(**values: Any) -> bool:
        return "update_plan" in build_registry(Settings(**values), workspace).names

    assert not offered()
    assert not offered(model="http://127.0.0.1:8000/v1#nano")
    assert offered(model="gpt-oss-20b")
    assert not offered(model="gpt-oss-20b", plan=False)
    assert offered(plan=True)


def test_patches_are_held_to_their_files_where_that_was_measured() -> None:
    assert Settings().grounds_patches
    assert not Settings(model="gpt-oss-20b").grounds_patches
    assert Settings(model="gpt-oss-20b", grounded_patches=True).grounds_patches
    assert not Settings(grounded_patches=False).grounds_patches
