"""What MLX raises while it computes, in words of ours: it has no types for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gptoss_tui.errors import EngineError

# Of its allocator: no memory, no buffer of that size, no more buffers. Of the driver, when a command buffer failed.
_NO_MEMORY = re.compile(
    r"unable to allocate|maximum allowed buffer size|resource limit \(\d+\) exceeded|insufficient memory|outofmemory",
    re.IGNORECASE,
)


RAISED = (MemoryError, RuntimeError, ValueError)
"""By MLX while it computes: ValueError for what only the device tells, as that it takes fewer threads for a kernel."""


@contextmanager
def in_our_words(clean_up: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Around work of MLX's: raises EngineError for what it raises, with what to do about it, after `clean_up`."""
    try:
        yield
    except RAISED as error:
        clean_up()
        raise engine_error(error) from error


def engine_error(error: Exception) -> EngineError:
    """The error that people see for one of MLX's."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError) or is_lack_of_memory(text):
        return EngineError(
            f"The GPU ran out of memory ({text})",
            hint="use a smaller context (`-c`) or a smaller model, or close other programs and try again",
        )
    return EngineError(
        f"The GPU failed ({text})", hint="try again; if it keeps failing, `--backend native` runs on the CPU"
    )


def is_lack_of_memory(text: str) -> bool:
    """Whether what MLX says is about memory."""
    return _NO_MEMORY.search(text) is not None
