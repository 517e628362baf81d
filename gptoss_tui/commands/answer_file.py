"""Writes the final answer of `exec` to a file: `--output-last-message`."""

from __future__ import annotations

import os
from pathlib import Path

from gptoss_tui.agent.events import Event, TurnFinished
from gptoss_tui.agent.whole_file import write_whole
from gptoss_tui.commands.exec_output import AnswerText
from gptoss_tui.errors import GptOssError, UsageError


class AnswerFileError(GptOssError):
    """The answer cannot be written to its file."""


class AnswerFile:
    """Follows the events of a turn like other outputs; `write` then writes the answer to the file.

    The text is the same as on a pipe; `exact` leaves citations unchanged. The constructor raises UsageError when the
    file cannot be written, so that this is found before anything runs.
    """

    def __init__(self, path: Path, *, exact: bool = False) -> None:
        self._path = path
        folder = Path(os.path.realpath(path)).parent
        if path.is_dir():
            raise UsageError(f"{path} is a folder", hint="name a file for the answer")
        if not self._is_special and not os.access(folder, os.W_OK):
            why = "cannot be written" if folder.is_dir() else "does not exist"
            raise UsageError(f"The folder {folder} for the answer {why}")
        self._text = AnswerText(exact=exact)
        self._answer: str | None = None

    def show(self, event: Event) -> None:
        """Follow the turn's events to find the answer."""
        self._text.follow(event)
        if isinstance(event, TurnFinished) and event.reason == "done":
            self._answer = self._text.ending(event.answer)

    def failed(self, error: GptOssError) -> None:
        """Do nothing, since there is no answer."""

    def write(self) -> None:
        """Write the answer to the file. Without a complete answer, leave the file unchanged. Raises AnswerFileError."""
        if self._answer is None:
            return
        try:
            if self._is_special:
                with open(self._path, "w", encoding="utf-8") as file:
                    file.write(self._answer)
            else:
                write_whole(self._path, self._answer)
        except OSError as error:
            raise AnswerFileError(f"{self._path} cannot be written: {error.strerror}; it is as it was") from error

    @property
    def _is_special(self) -> bool:
        """Whether the path is a pipe, a terminal or /dev/null, which must be written to instead of replaced."""
        return self._path.exists() and not self._path.is_file()
