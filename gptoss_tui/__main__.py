"""The program: `gptoss-tui`, or `python -m gptoss_tui`."""

from __future__ import annotations

import os
import signal
from types import FrameType

_INTERRUPTED = 130


def start() -> int:
    """Run the command line of this process and return its exit code.

    While modules are imported and the interpreter ends, Ctrl+C ends the process at once and without a traceback.
    """
    quiet = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # and not ignored, as with nohup
    if quiet:
        signal.signal(signal.SIGINT, _quit)
    from gptoss_tui.cli import main
    from gptoss_tui.commands.stdout import guard_stdout

    guard_stdout()
    try:
        if quiet:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return main()
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        if quiet:
            signal.signal(signal.SIGINT, _quit)


def _quit(number: int, frame: FrameType | None) -> None:
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    raise SystemExit(start())
