"""A program that shows a call with a figure in a real terminal, scrolls it to and fro, and ends by itself.

Run as `python -m tests.tui.picture_app FIGURE [SECONDS]`; after SECONDS it scrolls, and after as many again it ends.
"""

from __future__ import annotations

import asyncio
import sys

from gptoss_tui.agent import events as ev
from gptoss_tui.tools.base import Artefact
from gptoss_tui.tui.app import GptOssApp
from gptoss_tui.tui.blocks.notice import SummaryBlock
from gptoss_tui.tui.pictures.block import PictureBlock
from tests.tui.screen import transcript
from tests.tui.scripted_agent import answer_script, make_app


def script(figure: str) -> list[ev.Event]:
    """A call that made the figure."""
    return [
        ev.ToolCall(item_id="c1", tool="python", arguments="plt.plot(x)", summary="python plt.plot(x)"),
        ev.ToolStarted(item_id="c1", tool="python", preview="plt.plot(x)", preview_type="code"),
        ev.ToolFinished(
            item_id="c1",
            tool="python",
            status="ok",
            output=f"[Figure: {figure}]",
            seconds=0.4,
            artefacts=(Artefact(figure, "image/png", 1),),
        ),
    ]


async def painted(app: GptOssApp) -> None:
    """Until what changed so far was sent to the terminal, however busy the machine is."""
    for _ in range(2):  # a scroll asks for its paint in the refresh that follows it
        done = asyncio.Event()
        app.screen.call_after_refresh(done.set)
        await done.wait()


async def drive(app: GptOssApp, pause: float) -> None:
    """Look at it, scroll, look again. The exit code is 10 and the number of figures that are drawn."""
    while not any(isinstance(block, SummaryBlock) for block in transcript(app).blocks):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    await asyncio.gather(*(worker.wait() for worker in app.workers if worker.group == "pictures"))
    await painted(app)
    await asyncio.sleep(pause)
    for rows in (-100, 9, -3, -100):
        transcript(app).scroll_relative(y=rows, animate=False)
        await painted(app)
    await asyncio.sleep(pause)
    app.exit(return_code=10 + sum(isinstance(block, PictureBlock) for block in transcript(app).blocks))


def main() -> int:
    """Run the app. Gives its exit code."""
    figure, pause = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    lines = "\n\n".join(f"Line {number} below the figure." for number in range(1, 12))
    app, _ = make_app([*script(figure), *answer_script(lines)], prompt="plot it")
    app.call_later(lambda: app.run_worker(drive(app, pause)))
    app.run()
    return app.return_code or 0


if __name__ == "__main__":
    sys.exit(main())
