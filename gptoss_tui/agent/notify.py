"""The person's own program is told when a turn ends or waits for an answer: the setting `notify`.

It comes from the settings of the person alone, and runs away from the workspace, so no project can say or provide what
is started. Nothing waits for it, and nothing hears of its failure but the log.
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
"""The program is ended after so long, also when this one has ended before."""
MAX_TEXT: Final = 200
"""Characters: arguments of programs can be seen by every user of the machine, and have a limit."""

_START: Final = "import os, signal, sys; signal.alarm(int(sys.argv[1])); os.execvp(sys.argv[2], sys.argv[2:])"
"""An alarm outlives `exec`, and whoever set it."""

_log = logging.getLogger(__name__)


class Notifier:
    """Starts `command` with a JSON object as its last argument for each event that a person waits for."""

    def __init__(self, command: Sequence[str], workspace: Path) -> None:
        self._command = (os.path.expanduser(command[0]), *command[1:])
        self._workspace = str(workspace)

    def hear(self, event: Event, session: str) -> None:
        """Tell of the event, if it is one of those. Never raises."""
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
