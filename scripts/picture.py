"""Takes the pictures of the documentation: `python scripts/picture.py` and `python scripts/picture.py --states`.

The README's picture comes from the real app with the built-in model; it exits with 1 when no diff came to wait for
approval. With `--states` a scripted agent plays the states that the snapshot tests look at. The app runs without a
terminal around it, at the size of one.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from gptoss_tui.settings import Settings
from gptoss_tui.tui.app import GptOssApp, LocalBackend
from gptoss_tui.tui.options import Options
from gptoss_tui.tui.widgets.composer import Composer
from gptoss_tui.tui.widgets.status import StatusLine

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "screen.svg"
SIZE = (120, 40)
STATE_SIZE = (136, 40)
SECONDS = 120
FILE = "config.toml"
CONTENT = 'name = "demo"\nhost = "localhost"\nport = 8080\ndebug = false\nworkers = 4\n'
MESSAGES = ("how do I see what you think?", f"change the host to example.com in {FILE}")


async def take(folder: Path, messages: list[str]) -> str | None:
    """The screen as SVG when the answer to the last message is a question for approval, else None."""
    settings = Settings(workspace=folder, temperature=0.0)
    app = GptOssApp(LocalBackend(settings), Options(workspace=str(folder), theme="dark"))
    async with app.run_test(size=SIZE) as pilot:
        app.screen.query_one(Composer).cursor_blink = False
        await _until(pilot, lambda: _activity(app) == "ready")
        for message in messages:
            app.screen.query_one(Composer).text = message
            await pilot.press("enter")
            await _until(pilot, lambda: _activity(app) not in ("ready", "loading"))
            await _until(pilot, lambda: _activity(app) in ("ready", "approval"))
        await pilot.pause(1)
        return app.export_screenshot(title="gptoss-tui") if _activity(app) == "approval" else None


def _activity(app: GptOssApp) -> str:
    return app.screen.query_one(StatusLine).status.activity


async def take_states(folder: Path) -> None:
    """One picture for each of STATES, in the dark theme, and the panes in the light one too."""
    from tests.tui.scripted_agent import Clock, make_app
    from tests.tui.states import PAGE, STATES, THEMES, session, still

    for state in STATES:
        for theme in THEMES if state.name == "panes" else THEMES[:1]:
            app, agent = make_app(session(), clock=Clock())
            agent.page = PAGE
            name = state.name if theme == THEMES[0] else f"{state.name}-light"
            async with app.run_test(size=STATE_SIZE) as pilot:
                await still(state.act, theme)(pilot)
                (folder / f"{name}.svg").write_text(app.export_screenshot(title="gptoss-tui"), encoding="utf-8")
            print(folder / f"{name}.svg")


async def _until(pilot: Pilot[int], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the app did not get there")
        await pilot.pause(0.02)


def main() -> int:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("messages", nargs="*", default=list(MESSAGES), help="what to say, the last for the diff")
    parser.add_argument("--out", type=Path, default=PICTURE, metavar="FILE")
    parser.add_argument("--states", action="store_true", help="the main states instead, into the same folder")
    args = parser.parse_args()
    if args.states:
        sys.path.insert(0, str(Path(__file__).parents[1]))
        asyncio.run(take_states(args.out.parent))
        return 0
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        Path(folder, FILE).write_text(CONTENT, encoding="utf-8")
        picture = asyncio.run(take(Path(folder), args.messages))
    if picture is None:
        print("error: no diff waits for approval", file=sys.stderr)
        return 1
    args.out.write_text(picture, encoding="utf-8")
    print(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
