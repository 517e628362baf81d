"""Turns the exceptions that MLX raises while it computes into EngineError: MLX has no types of its own for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gptoss_tui.errors import EngineError

# Messages of MLX's allocator (no memory, no buffer of that size, no more buffers), and of the driver when a command
# buffer failed.
_NO_MEMORY = re.compile(
    r"unable to allocate|maximum allowed buffer size|resource limit \(\d+\) exceeded|insufficient memory|outofmemory",
    re.IGNORECASE,
)


RAISED = (MemoryError, RuntimeError, ValueError)
"""What MLX raises while it computes. ValueError is for what only the device knows, like a kernel's limit of threads."""


@contextmanager
def in_our_words(clean_up: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Wrap work of MLX: call `clean_up` for what it raises, then raise EngineError, with a hint what to do."""
    try:
        yield
    except RAISED as error:
        clean_up()
        raise engine_error(error) from error


def engine_error(error: Exception) -> EngineError:
    """The error shown to users for one of MLX's."""
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
    """Whether a message of MLX means a lack of memory."""
    return _NO_MEMORY.search(text) is not None
