"""What a person or a cell can choose: no state, the workspace to read, an interrupt, figures."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import json
import os
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gptoss_tui.tools.python import bubblewrap, probes
from gptoss_tui.tools.python.bubblewrap import Bubblewrap
from gptoss_tui.tools.python.docker_engine import find_docker
from gptoss_tui.tools.python.sandbox import Limits, Sandbox, SandboxError
from gptoss_tui.tools.python.session import PythonSession
from gptoss_tui.tools.python.tool import Python
from tests.tools.python.conftest import IMAGE, Open, find, ignore, run

INTERRUPTED = "[The user interrupted the call before this one. Variables are kept.]"
DRAWN = """
import base64, sys, types
pyplot = types.ModuleType("matplotlib.pyplot")
PNG = b"\\x89PNG\\r\\n\\x1a\\n"
class Figure:
    def savefig(self, file, **options): file.write(PNG + b"x" * %d)
pyplot.get_fignums = lambda: [1, 2]
pyplot.figure = lambda number: Figure()
pyplot.close = lambda which: setattr(pyplot, "get_fignums", list)
sys.modules["matplotlib.pyplot"] = pyplot
"""
"""Stands in for matplotlib where an image has none: what is tested is the way out of the sandbox."""


def session_in(sandbox: Sandbox, **options: object) -> PythonSession:
    async def choose() -> Sandbox:
        return sandbox

    return PythonSession(choose, Limits(seconds=30.0), **options)  # type: ignore[arg-type]


async def cancelled(session: PythonSession, code: str) -> None:
    """Run code that prints, and cancel it then."""
    began = asyncio.Event()
    task = asyncio.create_task(session.run(code, lambda text: began.set()))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_engine_of_the_current_context_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Docker Desktop and Colima set it up, where there is no socket at the usual place."""
    await find("docker")
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    folder = tmp_path / "contexts/meta" / hashlib.sha256(b"desktop").hexdigest()
    folder.mkdir(parents=True)
    (tmp_path / "config.json").write_text('{"currentContext": "desktop"}')
    about = {"Name": "desktop", "Metadata": {}, "Endpoints": {"docker": {"Host": address, "SkipTLSVerify": False}}}
    (folder / "meta.json").write_text(json.dumps(about))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    assert (await find_docker(IMAGE)).client.ping()


async def test_stateless_cells_share_nothing(sandbox: Sandbox) -> None:
    session = session_in(sandbox, stateful=False)
    for _ in range(8):
        assert await run(session, "open('/tmp/left', 'x').close(); open('left', 'x').close(); x = 1") == (
            "[No output. Print what you want to see.]"
        )
    assert "NameError" in await run(session, "x")
    assert (await session.run("import os; os._exit(1)", ignore)).data["state_lost"] is False


def test_a_stateless_tool_says_so_to_the_model() -> None:
    stateful, stateless = (Python("auto", IMAGE, stateful=state).namespace for state in (True, False))
    assert "stateful" in str(stateful.description)
    assert "nothing is kept between calls" in str(stateless.description)


async def test_an_interrupt_keeps_the_state(open_session: Open) -> None:
    session = open_session(seconds=60.0)
    await run(session, "kept = 5")
    for code in ("while True: pass", "import time; time.sleep(60)", "print('x' * 10); import time; time.sleep(60)"):
        await cancelled(session, f"print('up', flush=True)\n{code}")
        assert await run(session, "kept") == f"{INTERRUPTED}\n5\n"
        assert await run(session, "kept") == "5\n"


async def test_an_interrupt_that_is_ignored_loses_the_state_and_says_so(open_session: Open) -> None:
    session = open_session(seconds=60.0)
    code = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('up', flush=True)\nwhile True: pass"
    await cancelled(session, code)
    assert (await run(session, "1")).startswith("[Python was restarted before this call")


async def test_a_reset_right_after_an_interrupt_forgets(open_session: Open) -> None:
    session = open_session(seconds=60.0)
    await run(session, "x = 1")
    task = asyncio.create_task(session.run("while True: pass", ignore))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    session.reset()
    assert "NameError" in await run(session, "x")


async def test_an_interpreter_is_started_ahead_once_and_forgotten_with_the_rest(sandbox: Sandbox) -> None:
    session = session_in(sandbox)
    for _ in range(3):
        session.warm()
    assert await run(session, "import os; first = os.getpid(); kept = 1") == "[No output. Print what you want to see.]"
    session.warm()
    assert await run(session, "kept") == "1\n"
    for wait in (0.0, 1.0):
        session.reset()
        session.warm()
        await asyncio.sleep(wait)
    session.reset()
    assert "NameError" in await run(session, "kept")
    session.reset()


async def test_too_much_memory_is_named(sandbox: Sandbox) -> None:
    session = session_in(sandbox)
    await run(session, "kept = 1")
    result = await session.run("x = bytearray(900 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1", ignore)
    assert result.data["ending"] == "memory"
    assert "[Stopped: more than 512 MiB of memory were needed." in result.text
    assert result.data["state_lost"] == (sandbox.name == "docker")
    session.reset()


async def test_figures_come_back_as_files(sandbox: Sandbox, tmp_path: Path) -> None:
    session = session_in(sandbox, figures=tmp_path / "figures")
    result = await session.run(DRAWN % 600_000 + "print('drawn')", ignore)
    files = [Path(name) for name in result.data["files"]]
    assert len(files) == 2
    assert result.text == "drawn\n" + "\n".join(f"[The figure is shown to the user, as {file}]" for file in files)
    assert [(Path(one.path), one.mime, one.size) for one in result.artefacts] == [
        (file, "image/png", 600_008) for file in files
    ]
    for file in files:
        assert file.read_bytes() == b"\x89PNG\r\n\x1a\n" + b"x" * 600_000
        assert file.stat().st_mode & 0o777 == 0o600
    assert await run(session, "1") == "1\n"
    session.reset()


async def test_figures_that_are_too_large_are_told(sandbox: Sandbox, tmp_path: Path) -> None:
    session = session_in(sandbox, figures=tmp_path)
    result = await session.run(DRAWN % 6_000_000, ignore)
    assert result.data["files"] == []
    assert "the figures are too large" in result.text
    assert await run(session, "1") == "1\n"
    session.reset()


async def test_matplotlib_draws(tmp_path: Path) -> None:
    sandbox = await find("bubblewrap")
    assert isinstance(sandbox, Bubblewrap)
    sandbox = dataclasses.replace(sandbox, packages=Path(sysconfig.get_paths()["purelib"]))
    session = session_in(sandbox, figures=tmp_path)
    version = await run(session, "import sys; print(*sys.version_info[:2])")
    if version.split() != [str(part) for part in sys.version_info[:2]]:
        pytest.skip("the sandbox's Python is another one, for which matplotlib is not installed")
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 4])\nplt.title('t')\nplt.show()"
    result = await session.run(code, ignore)
    (name,) = os.listdir(tmp_path)
    file = tmp_path / name
    assert result.text == f"[The figure is shown to the user, as {file}]"
    assert file.read_bytes().startswith(b"\x89PNG")
    session.reset()


@pytest.mark.parametrize("name", ["bubblewrap", "docker"])
async def test_the_workspace_can_be_read_when_it_was_asked_for(name: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "data.csv").write_text("a,b\n")
    for place in (root, root.parent) if os.geteuid() == 0 and name == "docker" else ():
        place.chmod(0o755)
    sandbox = await find(name, root)
    assert "/workspace" in sandbox.description
    session = session_in(sandbox)
    assert await run(session, "open('/workspace/data.csv').read()") == "'a,b\\n'\n"
    for code in (
        "open('/workspace/data.csv', 'w')",
        "open('/workspace/new', 'w')",
        "import os; os.remove('/workspace/data.csv')",
    ):
        text = await run(session, code)
        assert "Read-only" in text or "Permission denied" in text
    assert os.listdir(root) == ["data.csv"]
    session.reset()


def test_folders_of_people_have_nothing_but_the_way_to_python(tmp_path: Path) -> None:
    """The installation itself may be there, as pyenv, uv and conda have it."""
    python = tmp_path / "someone/.pyenv/3.11"
    (python / "bin").mkdir(parents=True)
    source = probes._CODE[probes._CODE.index("def strangers") : probes._CODE.index("KNOWN =")]
    names: dict[str, Any] = {"os": os, "sys": SimpleNamespace(base_prefix=str(python))}
    exec(source, names)
    assert not names["strangers"](str(tmp_path))
    assert not names["strangers"](str(tmp_path / "nowhere"))
    for other in ("someone/.pyenv/3.11.1", "someone/.ssh", "other"):
        (tmp_path / other).mkdir()
        assert names["strangers"](str(tmp_path))
        (tmp_path / other).rmdir()


def test_a_python_that_would_show_the_home_folder_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for _, prefix in bubblewrap._pythons():
        monkeypatch.setenv("HOME", str(prefix / "someone"))
        found = []
        with contextlib.suppress(SandboxError):
            found = [one.prefix for one in bubblewrap.candidates()]
        assert prefix not in found
