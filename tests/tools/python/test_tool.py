"""The tool as the agent sees it: what is shown, what is refused, which sandbox is taken."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gptoss_tui.errors import ToolError
from gptoss_tui.tools.python.choose import choose_sandbox
from gptoss_tui.tools.python.probes import self_test
from gptoss_tui.tools.python.sandbox import PYTHON_FLAGS, Limits, Sandbox, SandboxError
from gptoss_tui.tools.python.session import PythonSession
from gptoss_tui.tools.python.tool import MAX_CODE, Python, PythonTool
from tests.tools.calls import result
from tests.tools.python.conftest import IMAGE, find


@pytest.fixture
async def tool() -> AsyncIterator[PythonTool]:
    sandbox = await find("bubblewrap")

    async def choose() -> Sandbox:
        return sandbox

    session = PythonSession(choose, Limits())
    yield PythonTool(session)
    session.reset()
    await asyncio.sleep(0)


async def test_code_that_a_person_changed_is_what_runs(tool: PythonTool) -> None:
    call = await (await tool.prepare('{"code": "print(1)"}')).revise("{1: print(2)}")
    assert call.source == call.effect.preview == "{1: print(2)}"
    assert call.effect.digest == hashlib.sha256(call.code.encode()).hexdigest()
    assert (await call.run(lambda text: None)).text == "2\n{1: None}\n"


async def test_what_is_shown_is_what_runs(tool: PythonTool) -> None:
    code = "import math\n\nprint(math.sqrt(2) > 1.4)\n"
    call = await tool.prepare(code)
    assert call.effect.kind == "python"
    assert call.effect.preview_type == "code"
    assert call.effect.preview == code == call.code
    assert call.effect.digest == hashlib.sha256(code.encode()).hexdigest()
    assert "bubblewrap" in dict(call.effect.details)["sandbox"]
    assert call.effect.reach == "sandbox"
    assert call.summary == "python print(math.sqrt(2) > 1.4) (2 lines)"
    assert (await call.run(lambda text: None)).text == "True\n"
    tool.session.reset()


@pytest.mark.parametrize(
    "arguments",
    ["print(1)", "```python\nprint(1)\n```", "```\nprint(1)\n```\n", '{"code": "print(1)"}', " \n print(1)"],
)
async def test_code_however_it_is_wrapped(tool: PythonTool, arguments: str) -> None:
    call = await tool.prepare(arguments)
    assert call.effect.preview.strip() == "print(1)"


@pytest.mark.parametrize("arguments", ['{"a": 1}', '{"code": 1}', "{1, 2}", '{"code": "x", "y": 1}', "{"])
async def test_braces_are_python_too(tool: PythonTool, arguments: str) -> None:
    assert (await tool.prepare(arguments)).code == arguments


@pytest.mark.parametrize("arguments", ["", " \n", "```\n```", '{"code": ""}', "x" * (MAX_CODE + 1), "'\ud800'"])
async def test_what_is_no_code_is_refused(tool: PythonTool, arguments: str) -> None:
    with pytest.raises(ToolError, match="code"):
        await tool.prepare(arguments)


async def test_without_a_sandbox_nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setattr("gptoss_tui.tools.python.bubblewrap.shutil.which", lambda *a, **k: None)
    python = Python("auto", IMAGE)
    for _ in range(2):
        with pytest.raises(ToolError) as refusal:
            await python.tools[0].prepare("print(1)")
        assert "docker: the engine does not answer" in refusal.value.message
        assert "bubblewrap" in refusal.value.message
        assert "gptoss-tui sandbox build" in str(refusal.value.hint)


async def test_an_image_that_is_not_here_is_never_pulled() -> None:
    with pytest.raises(ToolError) as refusal:
        await choose_sandbox("docker", "gptoss-tui-test/no-such-image:1")
    if "does not answer" in refusal.value.message:
        pytest.skip("no Docker engine")
    assert "docker pull gptoss-tui-test/no-such-image:1" in refusal.value.message


class Unprotected:
    """A worker in a plain process: what a broken sandbox would be."""

    name = "unprotected"
    description = "nothing"

    def __init__(self) -> None:
        self.started: list[PlainProcess] = []

    def worker_limits(self, limits: Limits) -> dict[str, int]:
        return {"output": limits.output}

    async def start(self, limits: Limits) -> PlainProcess:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *PYTHON_FLAGS, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        self.started.append(PlainProcess(process))
        return self.started[-1]


class PlainProcess:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def read(self, size: int) -> bytes:
        assert self._process.stdout is not None
        return await self._process.stdout.read(size)

    async def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        await self._process.stdin.drain()

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    async def wait(self) -> str:
        await self._process.communicate()
        return ""


@pytest.mark.skipif(sys.platform != "linux", reason="the probes read /proc")
async def test_the_self_test_sees_a_sandbox_that_is_none() -> None:
    unprotected = Unprotected()
    with pytest.raises(SandboxError, match="unprotected") as refusal:
        await self_test(unprotected)
    for process in unprotected.started:
        await process.wait()
    if os.geteuid() != 0:  # Landlock is not for processes that may gain privileges, so the worker did not even start
        assert "did not start" in refusal.value.message
        return
    caught = refusal.value.message.split("code inside ")[1].split(", ")
    assert {"makes sockets", "has no system call filter", "sees other processes", "has an environment"} <= set(caught)
    assert {"writes to /usr", "makes namespaces", "has capabilities"} <= set(caught)


async def test_results_of_calls(tool: PythonTool) -> None:
    assert (await result(tool, "1 + 1")).data == {"ending": "ok", "state_lost": False, "files": []}
    assert not (await result(tool, "1 / 0")).ok
    tool.session.reset()
