"""Textual's driver, hardened for a terminal that may send anything, change its colours, or go away."""

from __future__ import annotations

import fcntl
import os
import selectors
import struct
import sys
import termios
from codecs import getincrementaldecoder
from contextlib import suppress
from threading import Event
from typing import IO, Any

from textual import events
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from gptoss_tui.tui.terminal.attention import RESTORE_TITLE, SAVE_TITLE
from gptoss_tui.tui.terminal.background import is_dark
from gptoss_tui.tui.terminal.bands import Bands
from gptoss_tui.tui.terminal.graphics import ASK as ASK_GRAPHICS
from gptoss_tui.tui.terminal.graphics import Graphics
from gptoss_tui.tui.terminal.input_filter import InputFilter, Pasted

ASK_BACKGROUND = "\x1b]11;?\x1b\\"
FOLLOW_SCHEME, IGNORE_SCHEME = "\x1b[?2031h", "\x1b[?2031l"
CHUNK = 4096
WAIT_SECONDS = 0.1
"""How long the reader waits for the rest of a sequence."""


class TerminalColours(Message):
    """The terminal reported whether its background is dark."""

    def __init__(self, dark: bool) -> None:
        super().__init__()
        self.dark = dark


class TerminalGraphics(Message):
    """The terminal reported something about its graphics; `graphics` sums up all reports so far."""

    def __init__(self, graphics: Graphics) -> None:
        super().__init__()
        self.graphics = graphics


class TerminalGone(Message):
    """The terminal is gone."""


class TerminalDriver(LinuxDriver):
    """Filters replies out of the input, survives input that cannot be parsed, and notices the end of the terminal."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        to_terminal = self._file if _is_terminal(self._file) else sys.__stdout__ or self._file
        self._file: Any = _Output(to_terminal)  # Textual writes to stderr, which may be redirected to a file
        self.exit_event: _Ending = _Ending()
        self.bands = Bands()
        if self._size is None and self.input_tty:
            self._size = self._get_terminal_size()

    def _get_terminal_size(self) -> tuple[int, int]:
        """The window's size. COLUMNS and LINES are tried last: some shells export them, and they may be outdated."""
        for number in (self._file.fileno(), self.fileno):
            with suppress(OSError):
                columns, rows = os.get_terminal_size(number)
                if columns and rows:
                    return columns, rows
        return super()._get_terminal_size()

    def start_application_mode(self) -> None:
        super().start_application_mode()  # type: ignore[no-untyped-call]
        if self.input_tty and self._writer_thread is not None and os.environ.get("TERM") not in ("linux", "dumb"):
            self.write(SAVE_TITLE + FOLLOW_SCHEME + ASK_BACKGROUND + ASK_GRAPHICS)
            self.flush()

    def cell(self) -> tuple[int, int]:
        """The width and height of a cell in pixels according to the system; (0, 0) if unknown."""
        with suppress(OSError):
            size = fcntl.ioctl(self.fileno, termios.TIOCGWINSZ, bytes(8))
            rows, columns, width, height = struct.unpack("HHHH", size)
            if rows and columns:
                return width // columns, height // rows
        return 0, 0

    def write(self, data: str) -> None:
        """Write `data`, with the placeholders of pictures replaced by the pictures."""
        super().write(self.bands.fill(data))

    def stop_application_mode(self) -> None:
        if self._writer_thread is not None:
            self.write(IGNORE_SCHEME + RESTORE_TITLE)
        super().stop_application_mode()

    def process_message(self, message: Message) -> None:
        super().process_message(message)
        if isinstance(message, events.AppFocus):
            self._enable_mouse_support()  # a multiplexer may have lost it while it was detached

    def run_input_thread(self) -> None:
        """Wait for input and dispatch it until the app ends. Sleeps while there is none."""
        reader, bell = _Reader(self), self.exit_event.bell
        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            selector.register(bell, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                ready = [key.fd for key, _ in selector.select(WAIT_SECONDS if reader.waits else None)]
                if bell in ready:
                    os.read(bell, CHUNK)
                elif not ready:
                    reader.pause()
                elif not reader.read():
                    self.process_message(TerminalGone())
                    return


class _Ending(Event):
    """An event that also makes `bell` readable when it is set, to wake up `select`."""

    def __init__(self) -> None:
        super().__init__()
        self.bell, self._rope = os.pipe()

    def set(self) -> None:
        super().set()
        os.write(self._rope, b".")


def _is_terminal(file: IO[str]) -> bool:
    with suppress(OSError, ValueError):
        return file.isatty()
    return False


class _Output:
    """A file whose reader may go away: after that, writes are dropped without an error."""

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
    """Turns bytes into messages. If the parser fails, a chunk of input is lost, but the app goes on."""

    def __init__(self, driver: TerminalDriver) -> None:
        self._driver = driver
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._filter = InputFilter()
        self._graphics = Graphics()
        self._parser = XTermParser()

    @property
    def waits(self) -> bool:
        """Whether the input so far may be the beginning of a sequence."""
        return self._filter.holds or self._parser._timeout_time is not None

    def read(self) -> bool:
        """Read and dispatch the available input. Returns False when the terminal is gone."""
        try:
            data = os.read(self._driver.fileno, CHUNK)
        except OSError:
            return False
        if not data:
            return False
        pieces, replies = self._filter.feed(self._decode(data))
        for reply in replies:
            if reply.scheme:
                self._driver.write(ASK_BACKGROUND)
                self._driver.flush()
            elif reply.graphics:
                self._graphics = self._graphics.after(reply.graphics)
                self._driver.process_message(TerminalGraphics(self._graphics))
            elif (dark := is_dark(reply.background)) is not None:
                self._driver.process_message(TerminalColours(dark))
        for piece in pieces:
            if isinstance(piece, Pasted):
                self._driver.process_message(events.Paste(piece.text.replace("\0", "")))
            else:
                self._feed(piece)
        return True

    def pause(self) -> None:
        """Pass on an incomplete sequence as it is, because nothing followed for a while."""
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
