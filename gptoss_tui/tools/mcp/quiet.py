"""Silences the logs of the SDK and its HTTP client, which would overwrite the screen, even with bytes from a server."""

from __future__ import annotations

import logging
from typing import Final

_LOGGERS: Final = ("mcp", "httpx2", "httpcore2")


def quiet() -> None:
    """Keep the logs off stderr unless logging was set up. Exceptions tell what went wrong."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
