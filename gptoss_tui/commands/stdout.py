"""Standard output whose failures, such as a full disk, are errors for users."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

from gptoss_tui.errors import GptOssError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class OutputError(GptOssError):
    """The output of the command cannot be written."""


class _Descriptor(io.FileIO):
    """Writes to a file descriptor. A reader that went away remains a BrokenPipeError."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"the output cannot be written: {error.strerror}") from error


def guard_stdout() -> None:
    """Make writes to `sys.stdout` raise OutputError if they fail. An output that is closed or replaced stays."""
    out = sys.stdout
    if out is None or out is not sys.__stdout__ or not isinstance(out, io.TextIOWrapper):
        return
    raw = _Descriptor(out.fileno(), "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=out.encoding,
        errors=out.errors,
        line_buffering=out.line_buffering,
        write_through=out.write_through,
    )


def discard_stdout() -> None:
    """Discard what is still to be written: the interpreter flushes stdout once more at exit, which must not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
