"""Tools that the server runs itself: only when it was told to, and held as in the app."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gptoss_tui.agent.factory import make_browser, make_python
from gptoss_tui.server.toolbox import OwnTools, ServerToolbox
from gptoss_tui.settings import Settings
from tests.server.events import events_of
from tests.server.running import running
from tests.server.scripted import ScriptedEngine, final
from tests.tools.python.conftest import find

START = "<|start|>assistant"


def call(recipient: str, text: str) -> str:
    return f"{START} to={recipient}<|channel|>analysis code<|message|>{text}<|call|>".removeprefix(START)


@pytest.fixture
def documents(tmp_path: Path) -> Settings:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "whales.md").write_text("# Whales\n\nThe blue whale is the largest animal.\n", encoding="utf-8")
    return Settings(browser_backend="local", browser_folder=folder)


async def test_a_response_searches_reads_and_cites(documents: Settings) -> None:
    def script(prompt: str) -> str:
        after = prompt.rpartition("<|start|>user")[2]
        if "browser.open to=assistant" in after:
            return final("The blue whale【1†L2-L3】.")(prompt)
        if "browser.search to=assistant" in after:
            return call("browser.open", '{"id": 0}')
        return call("browser.search", '{"query": "whale"}')

    own = OwnTools({"web_search": lambda: make_browser(documents)})
    async with running(ScriptedEngine(script), own=own) as server:
        body = {"input": "largest?", "tools": [{"type": "web_search"}], "include": ["web_search_call.action.sources"]}
        events = await events_of(server, body)
    response = events[-1]["response"]
    assert [item["type"] for item in response["output"]] == ["web_search_call", "web_search_call", "message"]
    search, opened, message = response["output"]
    assert (search["action"]["type"], search["action"]["query"]) == ("search", "whale")
    assert opened["action"]["type"] == "open_page"
    assert opened["action"]["url"].endswith("whales.md")
    text = message["content"][0]["text"]
    (annotation,) = message["content"][0]["annotations"]
    assert annotation["type"] == "url_citation"
    assert text[annotation["start_index"] : annotation["end_index"]] == "【1†L2-L3】"
    kinds = [event["type"] for event in events]
    assert "response.output_text.annotation.added" in kinds
    assert [kind for kind in kinds if "web_search" in kind] == [
        "response.web_search_call.in_progress",
        "response.web_search_call.searching",
        "response.web_search_call.completed",
    ] * 2
    assert "## browser" in server.engine.prompts[0]


async def test_a_response_runs_python_in_the_sandbox(tmp_path: Path) -> None:
    await find("bubblewrap")
    secret = tmp_path / "secret"
    secret.write_text("hidden", encoding="utf-8")
    code = f"import os\nprint(6 * 7, os.path.exists({str(secret)!r}))"

    def script(prompt: str) -> str:
        return final("It is 42.")(prompt) if "42 False" in prompt else call("python", code)

    settings = Settings(python_sandbox="bubblewrap")
    own = OwnTools({"code_interpreter": lambda: make_python(settings, None)})
    async with running(ScriptedEngine(script), own=own) as server:
        tools = [{"type": "code_interpreter", "container": {"type": "auto"}}]
        body = {"input": "6 * 7?", "tools": tools, "include": ["code_interpreter_call.outputs"]}
        events = await events_of(server, body)
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["code_interpreter_call", "message"]
    assert output[0]["code"] == code
    assert output[0]["outputs"][0]["logs"].strip() == "42 False"
    assert [event["type"] for event in events if "code_interpreter" in event["type"]][-3:] == [
        "response.code_interpreter_call_code.done",
        "response.code_interpreter_call.interpreting",
        "response.code_interpreter_call.completed",
    ]


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/chat/completions", "/api/chat"])
async def test_no_tool_runs_that_was_not_switched_on(path: str, documents: Settings) -> None:
    """Whatever the request asks for and the model writes: nothing is called on the host."""
    made: list[str] = []

    def make(name: str) -> Any:
        made.append(name)
        raise AssertionError(name)

    own = OwnTools({"web_search": lambda: make("web_search")})
    names = ("python", "browser.search", "functions.apply_patch", "functions.shell", "container.exec")
    for name in names:
        engine = ScriptedEngine(lambda prompt, name=name: call(name, '{"query": "x", "cmd": "touch x"}'))  # type: ignore[misc]
        engine.heeds = False
        async with running(engine, own=own) as server:
            body = {"input": "x", "messages": [{"role": "user", "content": "x"}], "stream": False}
            status, answer = await server.post(path, {**body, "tools": []})
            assert status == 200, answer
            assert "Error" not in json.dumps(answer)
            refused = [
                prompt for prompt in engine.prompts if f"There is no tool '{name}'. There are no tools." in prompt
            ]
            assert len(refused) == 3
    assert made == []


async def test_what_would_need_a_person_is_refused(documents: Settings) -> None:
    """An address with much of the model's own words may carry away what it has read."""
    settings = Settings(browser_backend="searxng", searxng_url="http://127.0.0.1:9")
    toolbox = ServerToolbox([make_browser(settings)])
    url = "https://example.org/" + "secret" * 40
    text, sources = await toolbox.run("browser.open", json.dumps({"id": url}))
    assert text.startswith("Error: this needs a person's answer")
    assert sources == ()
    text, _ = await toolbox.run("browser.open", "no json")
    assert text.startswith("Error: ")


async def test_calls_of_the_servers_tools_are_bounded(documents: Settings) -> None:
    own = OwnTools({"web_search": lambda: make_browser(documents)})
    engine = ScriptedEngine(lambda prompt: call("browser.search", '{"query": "whale"}'))
    async with running(engine, own=own) as server:
        body = {"input": "x", "tools": [{"type": "web_search"}], "max_tool_calls": 2}
        events = await events_of(server, body)
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["web_search_call"] * 2
    assert "No more calls of this tool" in engine.prompts[-1]
