"""A download next to the conversation: its progress, its speed, and an immediate stop on request.

It runs in a thread that nobody joins, so neither stopping it nor leaving the app hangs on a server that is silent.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from gptoss_tui.engine.types import LoadProgress
from gptoss_tui.errors import DownloadError
from gptoss_tui.units import format_bytes

if TYPE_CHECKING:
    from gptoss_tui.engine.download import DownloadProgress

BEAT_SECONDS = 0.25
WINDOW_SECONDS = 8.0
"""The speed is averaged over this many last seconds."""
SILENT_SECONDS = 3.0
"""After this long without a byte, the silence is reported instead of a speed."""


class Speedometer:
    """Computes the speed and the remaining time from byte counts over time."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._grew = 0.0

    def note(self, now: float, done: int) -> None:
        """Record that `done` bytes have arrived at time `now`."""
        if not self._seen or done != self._seen[-1][1]:
            self._grew = now
        self._seen.append((now, done))
        while now - self._seen[0][0] > WINDOW_SECONDS:
            self._seen.popleft()

    def tell(self, total: int) -> str:
        """Describe the speed: `45.0 MB/s, 5 min left`; empty before there is anything to say."""
        (began, first), (now, done) = self._seen[0], self._seen[-1]
        if now - self._grew >= SILENT_SECONDS:
            return f"nothing came for {now - self._grew:.0f} s"
        if now - began < 1 or done <= first:
            return ""
        speed = (done - first) / (now - began)
        return f"{format_bytes(round(speed))}/s, {_time_left((total - done) / speed)}"


def _time_left(seconds: float) -> str:
    if seconds < 60:
        return f"{max(1, round(seconds))} s left"
    minutes = round(seconds / 60)
    return f"{minutes} min left" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min left"


class Fetcher:
    """Downloads one model at a time; `show` receives the progress, and a last one with `done` at the end."""

    def __init__(self, show: Callable[[LoadProgress], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._show = show
        self._clock = clock
        self._thread: threading.Thread | None = None
        self._ended: asyncio.Future[bool] | None = None
        self._latest: DownloadProgress | None = None
        self.name = ""
        """The model being downloaded; empty when there is none."""

    def stop(self) -> bool:
        """Stop the download; what has arrived is kept. Returns False if there is none."""
        if self._ended is None or self._ended.done():
            return False
        self._ended.set_result(False)
        return True

    async def fetch(self, name: str) -> bool:
        """Download the model `name`. Returns False if it was stopped. Raises DownloadError."""
        self.name = name
        ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._ended = ended
        try:
            await self._wait_for_the_one_before(ended)
            if not ended.done():
                self._begin(name, ended)
            meter = Speedometer()
            while not ended.done():
                await asyncio.wait({ended}, timeout=BEAT_SECONDS)
                if self._latest is not None:
                    meter.note(self._clock(), self._latest.done)
                    self._show(self._told(self._latest, meter))
            return ended.result()
        finally:
            ended.cancel()
            self.name = ""
            self._show(LoadProgress("", 1.0, done=True))

    def _begin(self, name: str, ended: asyncio.Future[bool]) -> None:
        from gptoss_tui.engine.download import download_model

        self._latest = None

        def report(progress: DownloadProgress) -> None:
            if ended.done():
                raise DownloadError("Nobody waits for this any more")
            self._latest = progress

        def work() -> None:
            failure: Exception | None = None
            try:
                download_model(name, on_progress=report)
            except Exception as error:  # whatever it is, it is raised in `fetch`
                failure = error
            with suppress(RuntimeError):  # the app has ended
                ended.get_loop().call_soon_threadsafe(_settle, ended, failure)

        self._thread = threading.Thread(target=work, name="download", daemon=True)
        self._thread.start()

    async def _wait_for_the_one_before(self, ended: asyncio.Future[bool]) -> None:
        """Wait for a stopped download: it holds its file until its server sends something or times out."""
        while self._thread is not None and self._thread.is_alive() and not ended.done():
            self._show(LoadProgress(f"{self.name}: waiting for the connection from before · Esc stops", 0.0))
            await asyncio.wait({ended}, timeout=BEAT_SECONDS)

    def _told(self, latest: DownloadProgress, meter: Speedometer) -> LoadProgress:
        sizes = f"{format_bytes(latest.done)} of {format_bytes(latest.total)}"
        speed = meter.tell(latest.total) if latest.stage == "downloading" else latest.stage
        parts = (f"{self.name}: {sizes}", speed, "Esc stops")
        return LoadProgress(" · ".join(part for part in parts if part), latest.done / max(1, latest.total))


def _settle(ended: asyncio.Future[bool], failure: Exception | None) -> None:
    if ended.done():
        return
    if failure is None:
        ended.set_result(True)
    else:
        ended.set_exception(failure)
