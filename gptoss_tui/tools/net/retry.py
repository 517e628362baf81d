"""Retries requests that may succeed a moment later: too many requests, server down, connection lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gptoss_tui.tools.net.errors import StatusError, UnreachableError

TRIES = 3
_PASSING = (429, 500, 502, 503, 504)
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 8.0

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]


async def retrying(attempt: Callable[[], Awaitable[T]], *, tries: int = TRIES, sleep: Sleep = asyncio.sleep) -> T:
    """Return the result of `attempt`, tried up to `tries` times with exponential backoff or the server's Retry-After.

    Raises what the last attempt raised. If the server asks for a pause of more than 8 seconds, there is no retry.
    """
    for number in range(tries):
        try:
            return await attempt()
        except (StatusError, UnreachableError) as error:
            pause = _pause(error, number)
            if pause is None or number == tries - 1:
                raise
            await sleep(pause)
    raise AssertionError("tries must be at least 1")


def _pause(error: StatusError | UnreachableError, number: int) -> float | None:
    """Seconds to wait before the next try, or None if there should be none."""
    pause = _FIRST_PAUSE * 2**number * random.uniform(1.0, 1.5)
    if isinstance(error, StatusError):
        if error.status not in _PASSING:
            return None
        pause = max(pause, error.retry_after or 0.0)
    return pause if pause <= _LONGEST_PAUSE else None
