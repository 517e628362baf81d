"""Our own child processes for untrusted data: they get nothing of the user's and can be ended at any time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path

import gptoss_tui
from gptoss_tui.errors import ToolError

_PASSED_ON = (
    "PATH",
    "SYSTEMROOT",
    "TMPDIR",
    "TEMP",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
_END_SECONDS = 2.0


async def start_child(module: str) -> asyncio.subprocess.Process:
    """Start `module` of this package, with no keys or proxies in its environment. Raises ToolError on failure."""
    # -P and cwd="/" make sure that nothing is imported from the user's working directory.
    command = (sys.executable, "-P", "-m", module)
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment["PYTHONPATH"] = str(Path(gptoss_tui.__file__).parents[1])
    pipe = asyncio.subprocess.PIPE
    try:
        return await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL, env=environment, cwd="/"
        )
    except OSError as error:
        raise ToolError(f"A process that is needed cannot be started: {error}") from error


async def end_child(process: asyncio.subprocess.Process) -> None:
    """End a process, if it has not ended yet, and wait for it."""
    if process.stdout is not None and process.stdout.at_eof():
        # It is ending on its own. If we killed an ended process, asyncio would complain about an unknown child.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _END_SECONDS)
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await process.wait()
