"""The toolkit's driver for a terminal that may send anything, change its colours, or go away."""

from __future__ import annotations

import os
import selectors
from codecs import getincrementaldecoder
from contextlib import suppress
from typing import IO, Any

from textual import events
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from gptoss_tui.tui.terminal.attention import RESTORE_TITLE, SAVE_TITLE
from gptoss_tui.tui.terminal.background import is_dark
from gptoss_tui.tui.terminal.input_filter import InputFilter

ASK_BACKGROUND = "\x1b]11;?\x1b\\"
FOLLOW_SCHEME, IGNORE_SCHEME = "\x1b[?2031h", "\x1b[?2031l"
CHUNK = 4096
WAIT_SECONDS = 0.1


class TerminalColours(Message):
    """The terminal said whether its background is dark."""

    def __init__(self, dark: bool) -> None:
        super().__init__()
        self.dark = dark


class TerminalGone(Message):
    """There is nobody at the other end any more."""


class TerminalDriver(LinuxDriver):
    """Reads what is no key out of the input, survives what cannot be parsed, and notices the end of the terminal."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._file: Any = _Output(self._file)

    def start_application_mode(self) -> None:
        super().start_application_mode()  # type: ignore[no-untyped-call]
        if self.input_tty and self._writer_thread is not None and os.environ.get("TERM") not in ("linux", "dumb"):
            self.write(SAVE_TITLE + FOLLOW_SCHEME + ASK_BACKGROUND)
            self.flush()

    def stop_application_mode(self) -> None:
        if self._writer_thread is not None:
            self.write(IGNORE_SCHEME + RESTORE_TITLE)
        super().stop_application_mode()

    def process_message(self, message: Message) -> None:
        super().process_message(message)
        if isinstance(message, events.AppFocus):
            self._enable_mouse_support()  # a multiplexer that was attached again may have lost it

    def run_input_thread(self) -> None:
        """Wait for input and dispatch it until the app ends."""
        reader = _Reader(self)
        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                if not selector.select(WAIT_SECONDS):
                    reader.pause()
                elif not reader.read():
                    self.process_message(TerminalGone())
                    return


class _Output:
    """A file whose other end may go away: what is written then is lost, and nothing waits for it."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._file.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()

    def fileno(self) -> int:
        return self._file.fileno()


class _Reader:
    """From bytes to messages. What the parser cannot take costs that chunk, never the app."""

    def __init__(self, driver: TerminalDriver) -> None:
        self._driver = driver
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._filter = InputFilter()
        self._parser = XTermParser()

    def read(self) -> bool:
        """Take what is there; False when the terminal is gone."""
        try:
            data = os.read(self._driver.fileno, CHUNK)
        except OSError:
            return False
        if not data:
            return False
        text, replies = self._filter.feed(self._decode(data))
        for reply in replies:
            if reply.scheme:
                self._driver.write(ASK_BACKGROUND)
                self._driver.flush()
            elif (dark := is_dark(reply.background)) is not None:
                self._driver.process_message(TerminalColours(dark))
        self._feed(text)
        return True

    def pause(self) -> None:
        """Nothing came for a while."""
        self._feed(self._filter.flush())

    def _feed(self, text: str) -> None:
        try:
            if text:
                self._send(self._parser.feed(text))
            self._send(self._parser.tick())
        except (ValueError, OverflowError, ArithmeticError, LookupError):
            self._parser = XTermParser()

    def _send(self, messages: Any) -> None:
        for message in messages:
            self._driver.process_message(message)
