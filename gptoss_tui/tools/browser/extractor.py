"""Documents of strangers read in a process of their own: what hangs is ended, what crashes takes nothing along."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import gptoss_tui
from gptoss_tui.errors import ToolError
from gptoss_tui.tools.browser.backend import Document

SECONDS = 10.0
BETTER_SECONDS = 4.0
"""So long a better reading is waited for when there is one already."""

_END_SECONDS = 2.0
_MAX_FRAME = 32 << 20
_PASSED_ON = ("PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "LANG", "LC_ALL", "LD_LIBRARY_PATH")


class Extractor:
    """One document's process. Start it early: it gets ready while the document is still on its way."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> Extractor:
        """Raises ToolError when no process can be started."""
        # -P and the folder: nothing is imported from where the user works.
        command = (sys.executable, "-P", "-m", "gptoss_tui.tools.browser.extract_worker")
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment["PYTHONPATH"] = str(Path(gptoss_tui.__file__).parents[1])
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL, env=environment, cwd="/"
            )
        except OSError as error:
            raise ToolError(f"No process to read documents with can be started: {error}") from error
        return cls(process)

    async def read(
        self, data: bytes, *, content_type: str, charset: str, url: str, seconds: float = SECONDS
    ) -> Document:
        """The best reading that comes within `seconds`. Raises ToolError when there is none."""
        about = json.dumps({"content_type": content_type, "charset": charset, "url": url}).encode()
        best: dict[str, Any] | None = None
        with contextlib.suppress(TimeoutError, OSError, ValueError, asyncio.IncompleteReadError):
            async with asyncio.timeout(seconds) as deadline:
                await self._write(len(about).to_bytes(4, "big") + about, data)
                while True:
                    frame = await self._frame()
                    best = frame if best is None or "error" not in frame else best
                    soon = asyncio.get_running_loop().time() + BETTER_SECONDS
                    deadline.reschedule(min(soon, deadline.when() or soon))
        if best is None:
            raise ToolError(
                f"Error fetching URL `{url}`: the document cannot be read: it takes too long, or is damaged."
            )
        if "error" in best:
            raise ToolError(str(best["error"]))
        return Document(**{**best, "url": url, "links": tuple(best["links"])})

    async def close(self) -> None:
        """End the process, if it has not ended yet."""
        stdout = self._process.stdout
        if stdout is not None and stdout.at_eof():
            # It is ending by itself. To kill what has ended makes asyncio complain about a process that it lost.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), _END_SECONDS)
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()

    async def _write(self, *parts: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        for part in parts:
            stdin.write(part)
            await stdin.drain()
        stdin.close()

    async def _frame(self) -> dict[str, Any]:
        """The next result. Raises IncompleteReadError when there are no more, ValueError for what is none."""
        stdout = self._process.stdout
        assert stdout is not None
        length = int.from_bytes(await stdout.readexactly(4), "big")
        if length > _MAX_FRAME:
            raise ValueError("a frame that is too long")
        frame = json.loads(await stdout.readexactly(length))
        if not isinstance(frame, dict):
            raise ValueError("a frame that is no object")
        return frame
