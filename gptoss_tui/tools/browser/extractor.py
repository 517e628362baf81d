"""Parses untrusted documents in a separate process: it can be killed when it hangs, and a crash harms nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from gptoss_tui.errors import ToolError
from gptoss_tui.tools.browser.backend import Document
from gptoss_tui.tools.child import end_child, start_child

SECONDS = 10.0
BETTER_SECONDS = 4.0
"""How long to wait for a better version when there is already one."""

_MAX_FRAME = 32 << 20


class Extractor:
    """The process for one document. Start it early, so that it is ready when the document arrives."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> Extractor:
        """Start the process. Raises ToolError when that fails."""
        return cls(await start_child("gptoss_tui.tools.browser.extract_worker"))

    async def read(
        self, data: bytes, *, content_type: str, charset: str, url: str, seconds: float = SECONDS
    ) -> Document:
        """Return the best version that arrives within `seconds`. Raises ToolError when there is none."""
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
        await end_child(self._process)

    async def _write(self, *parts: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        for part in parts:
            stdin.write(part)
            await stdin.drain()
        stdin.close()

    async def _frame(self) -> dict[str, Any]:
        """Read the next result. Raises IncompleteReadError when there are no more, ValueError for an invalid one."""
        stdout = self._process.stdout
        assert stdout is not None
        length = int.from_bytes(await stdout.readexactly(4), "big")
        if length > _MAX_FRAME:
            raise ValueError("a frame that is too long")
        frame = json.loads(await stdout.readexactly(length))
        if not isinstance(frame, dict):
            raise ValueError("a frame that is no object")
        return frame
