"""Garbage collection without noticeable pauses: objects that survive a full collection are exempt from later ones.

A full collection visits every object and stops the app meanwhile, for hundreds of milliseconds in a long session. Most
objects that survive one are permanent, so they are frozen (`gc.freeze`). Every now and then all of them are unfrozen
and visited again, because reference cycles among them may have become garbage.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping

EVERYTHING_AFTER = 64
"""Every this many full collections, frozen objects are included again."""

_collections = 0


def begin() -> None:
    """Freeze the objects created at start-up and enable collection. Idempotent."""
    gc.freeze()
    gc.enable()
    if _collected not in gc.callbacks:
        gc.callbacks.append(_collected)


def _collected(phase: str, info: Mapping[str, int]) -> None:
    global _collections
    if phase != "stop" or info["generation"] != 2:
        return
    _collections += 1
    if _collections % EVERYTHING_AFTER:
        gc.freeze()
    else:
        gc.unfreeze()
