"""Codex CLI itself against the server: a turn with a tool call, and a conversation that goes on.

Codex is not a dependency: `npm install --prefix FOLDER @openai/codex` puts it somewhere, and GPTOSS_TUI_CODEX names it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest
from platformdirs import user_cache_path

from tests.server.running import Running, running
from tests.server.scripted import ScriptedEngine

_CACHED = user_cache_path("gptoss-tui-tests") / "codex" / "node_modules" / ".bin" / "codex"
CODEX = os.environ.get("GPTOSS_TUI_CODEX") or shutil.which("codex") or (str(_CACHED) if _CACHED.exists() else None)

pytestmark = pytest.mark.skipif(CODEX is None, reason="Codex CLI is not installed (GPTOSS_TUI_CODEX names it)")

CONFIG = """
model = "gpt-oss-20b"
model_provider = "gptoss"
[model_providers.gptoss]
name = "gptoss-tui"
base_url = "http://127.0.0.1:{port}/v1"
wire_api = "responses"
"""
COMMAND = "echo made by codex > made.txt"
CALL = (
    "<|channel|>analysis<|message|>I make the file.<|end|><|start|>assistant to=functions.exec_command"
    f"<|channel|>commentary <|constrain|>json<|message|>{json.dumps({'cmd': COMMAND})}<|call|>"
)
REPLY = "<|start|>functions.exec_command to=assistant"


def script(prompt: str) -> str:
    asked = prompt.rpartition("<|start|>user<|message|>")[2]
    if "again" in asked:
        return "<|channel|>final<|message|>Still there.<|return|>"
    return "<|channel|>final<|message|>The file is made.<|return|>" if REPLY in asked else CALL


async def codex(server: Running, folder: Path, *arguments: str) -> list[dict[str, object]]:
    """What `codex exec --json` says."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(CONFIG.format(port=server.port), encoding="utf-8")
    work = folder / "work"
    work.mkdir(exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        *(str(CODEX), "exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"),
        *arguments,
        cwd=work,
        env={**os.environ, "CODEX_HOME": str(home)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await asyncio.wait_for(process.communicate(), 140)
    assert process.returncode == 0, errors.decode() + out.decode()
    return [json.loads(line) for line in out.decode().splitlines() if line.startswith("{")]


@pytest.mark.timeout(300)
async def test_codex_completes_a_turn_with_a_tool_call_and_goes_on(tmp_path: Path) -> None:
    async with running(ScriptedEngine(script)) as server:
        events = await codex(server, tmp_path, "make a file")
        items = [event["item"] for event in events if event["type"] == "item.completed"]
        assert (tmp_path / "work" / "made.txt").read_text(encoding="utf-8") == "made by codex\n"
        assert [item["type"] for item in items if isinstance(item, dict)][-1] == "agent_message"
        assert "The file is made." in json.dumps(items)
        assert any(event["type"] == "turn.completed" for event in events)
        first, second = server.engine.prompts
        assert second.startswith(first + CALL), "the thought and the call come back as they were sampled"
        more = await codex(server, tmp_path, "resume", "--last", "and again?")
        assert "Still there." in json.dumps(more)
    assert server.engine.forbidden == []
    assert server.service.metrics.requests["/v1/responses", 200] == 3
