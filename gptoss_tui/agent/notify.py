"""The setting `notify`: starts a program of the user's when a turn ends or waits for an answer.

The program can only come from the user's settings, and it does not run in the workspace, so that a project can neither
choose nor provide what is started. Nothing waits for the program, and its failures are only logged.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from gptoss_tui.agent.events import SCHEMA_VERSION, ApprovalRequest, Event, TurnFinished, event_type
from gptoss_tui.sanitize import to_terminal_line

SECONDS = 30
"""The program is killed after this time, even if this process has already exited."""
MAX_TEXT: Final = 200
"""In characters. Every user of the machine can see the arguments of programs, and their length is limited."""

_START: Final = "import os, signal, sys; signal.alarm(int(sys.argv[1])); os.execvp(sys.argv[2], sys.argv[2:])"
"""The alarm survives both `exec` and the exit of this process."""

_log = logging.getLogger(__name__)


class Notifier:
    """Starts `command` with a JSON object as its last argument when a turn ends or needs an approval."""

    def __init__(self, command: Sequence[str], workspace: Path) -> None:
        self._command = (os.path.expanduser(command[0]), *command[1:])
        self._workspace = str(workspace)

    def hear(self, event: Event, session: str) -> None:
        """Start the program if it is to be notified of this event. Never raises."""
        match event:
            case TurnFinished():
                told = {"reason": event.reason, "text": event.answer or event.error}
            case ApprovalRequest():
                told = {"kind": event.kind, "tool": event.tool, "text": event.title}
            case _:
                return
        told["text"] = to_terminal_line(told["text"][:MAX_TEXT])
        about = {"v": SCHEMA_VERSION, "type": event_type(event), "turn_id": event.turn_id}
        self._start({**about, "session": session, "workspace": self._workspace, **told})

    def _start(self, message: dict[str, Any]) -> None:
        command = [sys.executable, "-I", "-S", "-c", _START, str(SECONDS), *self._command, json.dumps(message)]
        nothing = subprocess.DEVNULL
        try:
            process = subprocess.Popen(
                command, stdin=nothing, stdout=nothing, stderr=nothing, cwd=Path.home(), start_new_session=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            _log.warning("notify: %s cannot be started: %s", self._command[0], error)
            return
        threading.Thread(target=self._watch, args=(process,), name="notify", daemon=True).start()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        if code == -signal.SIGALRM:
            _log.warning("notify: %s was ended after %d s", self._command[0], SECONDS)
        elif code:
            _log.warning("notify: %s ended with %d", self._command[0], code)
