"""The log of the SDK and its HTTP client: it would be written over the screen, with a server's own bytes in it."""

from __future__ import annotations

import logging
from typing import Final

_LOGGERS: Final = ("mcp", "httpx2", "httpcore2")


def quiet() -> None:
    """Keep the log off stderr where nobody set it up. What went wrong is told by the errors."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
