"""Garbage collection that nobody feels: what survived a full collection is left out of the next ones.

A full collection looks at every object and stops the app as long as that takes, hundreds of milliseconds in a long
session. Most objects that survive one are there to stay, so they are frozen; now and then all are looked at again,
since rings of them may have become garbage.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping

EVERYTHING_AFTER = 64
"""Full collections of young objects between two of all objects."""

_collections = 0


def begin() -> None:
    """Leave out what the start has made, and collect from now on. Idempotent."""
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
