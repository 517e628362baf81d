"""Slash commands in the app, on a real agent whose engine plays a script."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from textual.pilot import Pilot

from gptoss_tui.agent.agent import Agent
from gptoss_tui.agent.factory import build_agent
from gptoss_tui.agent.policy.grants import Grant
from gptoss_tui.agent.sessions import title_of
from gptoss_tui.engine.types import GenerationEvent, SamplingParams
from gptoss_tui.errors import ModelNotFoundError
from gptoss_tui.harmony.tokenizer import RETURN, load_tokenizer
from gptoss_tui.settings import Settings
from gptoss_tui.tui.app import GptOssApp
from gptoss_tui.tui.blocks.user import UserBlock
from gptoss_tui.tui.composing.requests import init_request, typed_title
from gptoss_tui.tui.options import Options
from gptoss_tui.tui.screens.picker import PickerScreen
from tests.agent.helpers import ANSWER, CALL_PATCH
from tests.agent.scripted_engine import ScriptedEngine, ids_of
from tests.tui.conftest import until
from tests.tui.screen import colours, composer, conversation, screen, status, transcript

SMALL, WIDE = (80, 24), (140, 40)


def says(text: str) -> str:
    """A generation that answers."""
    return f"<|channel|>final<|message|>{text}<|return|>"


class Engine(ScriptedEngine):
    """Reading ahead takes one token of nobody's script."""

    async def generate(self, token_ids: Sequence[int], params: SamplingParams) -> AsyncIterator[GenerationEvent]:
        if params.max_tokens == 1:
            self.scripts.insert(0, [RETURN])
        async with aclosing(
            cast("AsyncGenerator[GenerationEvent, None]", super().generate(token_ids, params))
        ) as events:
            async for event in events:
                yield event


class Backend:
    """A real agent on an engine with a script; every model name gets the same engine."""

    def __init__(self, engine: ScriptedEngine, workspace: Path) -> None:
        self.engine = engine
        self.settings = Settings(workspace=workspace, mode="auto-edit")
        self.model = "nano"
        self.used: list[str] = []
        self.missing = ""
        self.agents: list[Agent] = []

    def use_model(self, name: str) -> None:
        self.model = name
        self.used.append(name)

    def guides(self) -> tuple[str, ...]:
        return ()

    async def sandbox(self) -> str:
        return ""

    def connect(self) -> ScriptedEngine:
        if self.model == self.missing:
            raise ModelNotFoundError(f"{self.model} cannot be loaded")
        return self.engine

    def build_agent(self, engine: ScriptedEngine) -> Agent:
        self.agents.append(build_agent(self.settings, engine, load_tokenizer()))
        return self.agents[-1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace; sessions, undo, settings and state are beside it."""
    monkeypatch.setenv("GPTOSS_TUI_SESSIONS", str(tmp_path / "sessions"))
    monkeypatch.setenv("GPTOSS_TUI_UNDO", str(tmp_path / "undo"))
    monkeypatch.setenv("GPTOSS_TUI_CONFIG", str(tmp_path / "config" / "config.toml"))
    monkeypatch.setenv("GPTOSS_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "TMUX"):
        monkeypatch.delenv(name, raising=False)
    workspace = tmp_path / "project"
    workspace.mkdir()
    return workspace


def make(folder: Path, *transcripts: str) -> tuple[GptOssApp, Backend]:
    tokenizer = load_tokenizer()
    backend = Backend(Engine([ids_of(tokenizer, text) for text in transcripts], context=32_768), folder)
    state = folder.parent / "state" / "history.jsonl"
    app = GptOssApp(backend, Options(workspace=str(folder), history_path=state, mode="auto-edit"))  # type: ignore[arg-type]
    return app, backend


async def ready(pilot: Pilot[int], app: GptOssApp) -> None:
    await until(pilot, lambda: "ready" in status(app), tries=1000)


async def say(pilot: Pilot[int], app: GptOssApp, text: str) -> None:
    """Send a message and wait for the end of its turn."""
    before = conversation(app).count("───")
    await pilot.press(*text, "enter")
    await until(pilot, lambda: conversation(app).count("───") > before and "ready" in status(app), tries=1000)


async def command(pilot: Pilot[int], text: str) -> None:
    """Type a command, close what is offered, and send it."""
    await pilot.press(*text, "escape", "enter")
    await pilot.pause()


async def picker(pilot: Pilot[int], app: GptOssApp, words: str) -> None:
    """Wait until a list that shows `words` is open."""
    await until(pilot, lambda: isinstance(app.screen, PickerScreen) and words in screen(app), tries=1000)


async def test_undo_takes_files_and_conversation_back_and_redo_brings_both(folder: Path) -> None:
    app, _ = make(folder, CALL_PATCH, ANSWER)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "create hello.py")
        assert (folder / "hello.py").is_file()
        await command(pilot, "/undo")
        await until(pilot, lambda: "1 file put back: hello.py" in conversation(app))
        assert not (folder / "hello.py").exists()
        assert "I created hello.py" not in conversation(app)
        assert composer(app).text == "create hello.py"
        composer(app).set_draft("")
        await command(pilot, "/redo")
        await until(pilot, lambda: "I created hello.py" in conversation(app))
        assert (folder / "hello.py").read_text() == "print('hello')\n"


@pytest.mark.parametrize("files", [False, True])
async def test_going_back_asks_about_files_that_were_changed_since(folder: Path, files: bool) -> None:
    app, backend = make(folder, CALL_PATCH, ANSWER)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "create hello.py")
        await command(pilot, "/rewind")
        await picker(pilot, app, "create hello.py")
        await pilot.press("enter")
        await picker(pilot, app, "puts back hello.py")
        await pilot.press(*["down"] * files, "enter")
        await until(pilot, lambda: composer(app).text == "create hello.py")
        assert backend.agents[0].turns() == ()
        assert (folder / "hello.py").exists() is not files


async def test_going_back_without_changed_files_asks_nothing(folder: Path) -> None:
    app, _ = make(folder, ANSWER)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "hello")
        await pilot.press("escape", "escape")
        await picker(pilot, app, "Go back to before this message")
        await pilot.press("enter")
        await until(pilot, lambda: composer(app).text == "hello")
        assert "I created" not in conversation(app)


async def test_what_the_conversation_changed_is_shown_as_diffs(folder: Path) -> None:
    app, _ = make(folder, CALL_PATCH, ANSWER)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await command(pilot, "/diff")
        await until(pilot, lambda: "No file was changed" in conversation(app))
        await say(pilot, app, "create hello.py")
        await command(pilot, "/diff")
        await until(pilot, lambda: "Changes of this conversation  +1 -0" in screen(app))
        assert "print('hello')" in screen(app)
        await pilot.press("escape")
        await until(pilot, lambda: "Changes of this conversation" not in screen(app))


async def test_the_status_in_a_few_lines(folder: Path) -> None:
    app, backend = make(folder, CALL_PATCH, ANSWER)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "create hello.py")
        await command(pilot, "/status")
        await until(pilot, lambda: "Approvals  " in conversation(app))
        said = conversation(app)
        assert f"{backend.agents[-1].session_id}, 1 turn" in said
        assert "apply_patch" in said
        assert "0.0 kB" not in said, "an engine that does not say how large its weights are"


async def test_the_model_in_use_is_listed_wherever_it_is(folder: Path) -> None:
    app, backend = make(folder)
    backend.model = "http://127.0.0.1:9/v1#some-model"
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await command(pilot, "/model")
        await picker(pilot, app, "nano")
        (row,) = (row for row in screen(app).split("\n") if "some-model" in row and "❯" in row)
        assert "in use" in row, row


async def test_the_mode_is_chosen_by_name_or_from_a_list(folder: Path) -> None:
    app, backend = make(folder)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await command(pilot, "/mode read-only")
        await until(pilot, lambda: backend.agents[-1].mode == "read-only")
        await command(pilot, "/mode everything")
        await until(pilot, lambda: "There is no mode 'everything'" in conversation(app))
        await command(pilot, "/mode")
        await picker(pilot, app, "nothing is changed")
        await pilot.press("down", "enter")
        await until(pilot, lambda: backend.agents[-1].mode == "ask")


async def test_the_model_is_asked_to_write_agents_md(folder: Path) -> None:
    app, backend = make(folder, ANSWER)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await command(pilot, "/init name the owners")
        await until(pilot, lambda: bool(backend.engine.requests))
        prompt = load_tokenizer().decode(list(backend.engine.requests[-1].prompt))
        assert "Write AGENTS.md" in prompt
        assert "name the owners" in prompt
        await until(pilot, lambda: "ready" in status(app))
        assert "▌ /init name the owners\n" in re.sub(" +\n", "\n", conversation(app))
        assert "Write AGENTS.md" not in screen(app), "the panes name it as the conversation does"
        (block,) = (block for block in transcript(app).blocks if isinstance(block, UserBlock))
        transcript(app).post_message(transcript(app).BlockClicked(transcript(app), block, 0))
        await until(pilot, lambda: "Write AGENTS.md" in conversation(app))
        await command(pilot, "/rewind")
        await picker(pilot, app, "/init name the owners")
        await pilot.press("enter")
        await until(pilot, lambda: composer(app).text == "/init name the owners")


async def test_the_model_reviews_what_is_not_committed_or_what_is_named(folder: Path) -> None:
    app, backend = make(folder, ANSWER, ANSWER)
    backend.settings = replace(backend.settings, shell=True)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await command(pilot, "/review")
        await until(pilot, lambda: len(backend.agents[0].turns()) == 1 and "ready" in status(app))
        await command(pilot, "/review the last commit")
        await until(pilot, lambda: len(backend.agents[0].turns()) == 2 and "ready" in status(app))
        first, second = (turn.text for turn in backend.agents[0].turns())
        assert "git diff HEAD" in first
        assert "Look at them first: the last commit." in second
        prompts = [row[2:].rstrip() for row in conversation(app).split("\n") if row.startswith("▌ /")]
        assert prompts == ["/review", "/review the last commit"]
        titles = [typed_title(title_of(text)) for text in (first, second, "Review changes", init_request("x"))]
        assert titles == ["/review", "/review", "Review changes", "/init"]


async def test_a_review_without_a_shell_says_what_it_needs(folder: Path) -> None:
    app, backend = make(folder)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await command(pilot, "/review")
        await until(pilot, lambda: "--shell gives it to the model" in conversation(app))
        assert not backend.agents[0].turns()


async def test_undo_asks_about_a_file_that_somebody_changed(folder: Path) -> None:
    app, _ = make(folder, CALL_PATCH, ANSWER)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "create hello.py")
        (folder / "hello.py").write_text("mine\n")
        await command(pilot, "/undo")
        await picker(pilot, app, "keep it as it is now")
        await pilot.press("enter")
        await until(pilot, lambda: "left alone: hello.py" in conversation(app))
        assert (folder / "hello.py").read_text() == "mine\n"


async def test_a_saved_conversation_is_resumed_from_a_list_with_previews(folder: Path) -> None:
    app, _ = make(folder, says("Paris it is."))
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "capital of France?")
    app, _ = make(folder, says("Two million."))
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await command(pilot, "/resume")
        await picker(pilot, app, "capital of France?")
        await until(pilot, lambda: "Paris it is." in screen(app))
        await pilot.press("enter")
        await until(pilot, lambda: "Paris it is." in conversation(app))
        await say(pilot, app, "people there?")
        assert "Two million." in conversation(app)


async def test_a_turn_that_was_cut_off_with_the_app_does_not_look_as_if_it_went_on(folder: Path) -> None:
    app, backend = make(folder, CALL_PATCH, ANSWER)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "create hello.py")
        saved = backend.agents[-1].session_path
        assert saved is not None
    lines = saved.read_text().splitlines(keepends=True)
    cut = next(number for number, row in enumerate(lines) if '"tool_finished"' in row)
    saved.write_text("".join(lines[:cut]))
    app, _ = make(folder, ANSWER)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await command(pilot, "/resume last")
        await until(pilot, lambda: "interrupted" in conversation(app))
        assert "cancelled" in conversation(app)
        assert "running" not in conversation(app)


async def test_a_fork_goes_on_before_a_message(folder: Path) -> None:
    app, backend = make(folder, says("one"), says("two"))
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "first")
        await say(pilot, app, "second")
        old = backend.agents[-1].session_id
        await command(pilot, "/fork")
        await picker(pilot, app, "second")
        await pilot.press("enter")
        await until(pilot, lambda: composer(app).text == "second")
        assert "two" not in conversation(app).replace("second", "")
        assert "This is a copy from here on" in conversation(app)
        assert backend.agents[-1].session_id != old
        assert [turn.text for turn in backend.agents[-1].turns()] == ["first"]


async def test_a_conversation_is_summed_up(folder: Path) -> None:
    app, backend = make(folder, says("long answer"), says("They asked for one thing."))
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "first")
        await command(pilot, "/compact keep names")
        await until(
            pilot,
            lambda: (
                "They asked for one thing." in str(backend.agents[-1].conversation.prompt_ids())
                or len(backend.engine.requests) >= 2
            ),
            tries=1000,
        )
        await ready(pilot, app)
        assert "keep names" in load_tokenizer().decode(list(backend.engine.requests[-1].prompt))


async def test_the_context_is_shown_as_a_picture(folder: Path) -> None:
    app, _ = make(folder, says("ok"))
    async with app.run_test(size=SMALL) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "hi")
        await command(pilot, "/context")
        await until(pilot, lambda: "Instructions and tools" in screen(app))
        assert "█" in screen(app)
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)


async def test_the_conversation_is_written_into_files_and_nothing_is_overwritten(folder: Path) -> None:
    app, _ = make(folder, says("An answer."))
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await command(pilot, "/export")
        await until(pilot, lambda: "nothing to export" in conversation(app))
        await say(pilot, app, "hi")
        (folder / "talk.html").write_text("mine")
        await command(pilot, "/export talk.html")
        await until(pilot, (folder / "talk-2.html").is_file)
        assert (folder / "talk.html").read_text() == "mine"
        assert "An answer." in (folder / "talk-2.html").read_text()
        await command(pilot, "/export json out.json")
        await until(pilot, (folder / "out.json").is_file)
        assert json.loads((folder / "out.json").read_text())["events"][0]["text"] == "hi"
        await command(pilot, "/export html no/such/folder.html")
        await until(pilot, lambda: "could not be written" in conversation(app))


async def test_answers_and_code_are_copied(folder: Path) -> None:
    app, _ = make(folder, says("Look:\n\n```python\nprint(1)\n```\n\n```\ntwo\n```"))
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await command(pilot, "/copy")
        await until(pilot, lambda: "no answer yet" in conversation(app))
        await say(pilot, app, "hi")
        for words, copied in (("", "Look:"), (" code", "two"), (" code 1", "print(1)"), (" all", "# Conversation")):
            await command(pilot, f"/copy{words}")
            await until(pilot, lambda copied=copied: app.clipboard.startswith(copied))
        await command(pilot, "/copy code 7")
        await until(pilot, lambda: "blocks 1 to 2" in conversation(app))


async def test_models_are_listed_with_their_fit_and_a_switch_keeps_the_conversation(folder: Path) -> None:
    (folder.parent / "models" / "other").mkdir(parents=True)
    app, backend = make(folder, says("before"), says("after"))
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "first")
        await command(pilot, "/model")
        await picker(pilot, app, "gpt-oss-120b")
        assert "in use" in screen(app)
        assert "download" in screen(app)
        assert "other" in screen(app)
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)
        await command(pilot, "/model other")
        await until(pilot, lambda: "other is loaded" in conversation(app), tries=1000)
        assert backend.used == ["other"]
        assert "before" in conversation(app)
        await say(pilot, app, "second")
        assert [turn.text for turn in backend.agents[-1].turns()] == ["first", "second"]


async def test_a_model_that_cannot_be_had_leaves_the_one_from_before(folder: Path) -> None:
    (folder.parent / "models" / "broken").mkdir(parents=True)
    app, backend = make(folder, says("still here"))
    backend.missing = "broken"
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await command(pilot, "/model no-such-model")
        await until(pilot, lambda: "There is no model or directory 'no-such-model'" in conversation(app))
        assert backend.used == []
        await command(pilot, "/model broken")
        await until(pilot, lambda: "nano is loaded again" in conversation(app), tries=1000)
        await ready(pilot, app)
        await say(pilot, app, "hi")
        assert "still here" in conversation(app)


async def test_rules_are_listed_and_revoked(folder: Path) -> None:
    app, backend = make(folder)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await command(pilot, "/approvals")
        await until(pilot, lambda: "No standing answers" in conversation(app))
        assert len(app.screen_stack) == 1, "there is nothing to choose from"
        book = backend.agents[-1].approvals.book
        (rule,) = book.grant(Grant((("edit", ("**",)),), "all edits"), "session", "network")
        await command(pilot, "/approvals")
        await picker(pilot, app, "this conversation")
        await pilot.press("delete")
        await until(pilot, lambda: rule not in book.rules)
        await until(pilot, lambda: len(app.screen_stack) == 1)


async def test_the_tools_of_the_model_are_listed(folder: Path) -> None:
    app, _ = make(folder)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await command(pilot, "/tools")
        await picker(pilot, app, "apply_patch")
        assert "read_file" in screen(app)


async def test_themes_help_keys_and_quit(folder: Path) -> None:
    app, _ = make(folder)
    async with app.run_test(size=SMALL) as pilot:
        await ready(pilot, app)
        await command(pilot, "/theme gptoss-light")
        await until(pilot, lambda: app.theme == "gptoss-light")
        await command(pilot, "/help copy")
        await picker(pilot, app, "Copy an answer")
        await pilot.press("enter")
        await until(pilot, lambda: composer(app).text == "/copy ")
        composer(app).set_draft("")
        await command(pilot, "/keys")
        await until(pilot, lambda: "Send the message" in screen(app))
        await pilot.press("escape")
        await command(pilot, "/quit")
        await until(pilot, lambda: app._exit)


async def test_a_theme_is_tried_out_in_the_list_and_only_enter_chooses_it(folder: Path) -> None:
    app, _ = make(folder)
    async with app.run_test(size=SMALL) as pilot:
        await ready(pilot, app)
        await command(pilot, "/theme")
        await picker(pilot, app, "auto")
        await until(pilot, lambda: re.search(r"auto +in use", screen(app)))
        await pilot.press("down", "down")
        await until(pilot, lambda: app.theme == "gptoss-light")
        await pilot.press(*"contrast")
        await until(pilot, lambda: app.theme == "gptoss-contrast")
        await until(pilot, lambda: colours(app) >= {(255, 255, 255), (0, 0, 0)})
        await pilot.press("escape")
        await until(pilot, lambda: app.theme == "gptoss-dark")
        assert app.chosen_theme == "auto"
        assert app.state_file.remembered.theme == ""
        await command(pilot, "/theme")
        await picker(pilot, app, "auto")
        await until(pilot, lambda: re.search(r"auto +in use", screen(app)))
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: app.chosen_theme == app.theme == "gptoss-light")


async def test_prompts_of_ones_own_are_commands(folder: Path) -> None:
    prompts = folder.parent / "config" / "prompts"
    prompts.mkdir(parents=True)
    (prompts / "greet.md").write_text("---\ndescription: say hello\nargument-hint: name\n---\nGreet $1.")
    app, backend = make(folder, says("Hello."))
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await pilot.press(*"/gre")
        await until(pilot, lambda: "/greet name" in screen(app))
        assert "Say hello" in screen(app)
        await say(pilot, app, "et Ada")
        assert backend.agents[-1].turns()[-1].text == "Greet Ada."


async def test_what_may_not_run_now_says_so(folder: Path) -> None:
    app, backend = make(folder, says("x " * 300))
    backend.engine.hang_after = 50
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await pilot.press(*"hi", "enter")
        await until(pilot, lambda: "ready" not in status(app))
        await command(pilot, "/new")
        await until(pilot, lambda: "is not available while the model works" in conversation(app))
        assert composer(app).text == "/new"
        await pilot.press("ctrl+u", "escape")
        await ready(pilot, app)
        assert len(backend.agents[-1].turns()) == 1
