"""Failures that several backends can have, in the same words."""

from __future__ import annotations

from gptoss_tui.errors import EngineError


def not_finite() -> EngineError:
    """The logits have no log-sum-exp: at least one of them is NaN or infinite."""
    return EngineError("The model computed logits that are NaN or infinite", hint="the checkpoint may be damaged")


def nothing_allowed() -> EngineError:
    """No id of the vocabulary is allowed next."""
    return EngineError("The model's vocabulary has no token that the grammar allows")


def out_of_memory() -> EngineError:
    """The engine's process could not allocate what a request needs."""
    return EngineError(
        "The engine ran out of memory",
        hint="use a smaller context (`-c`) or a smaller model, or free memory and try again",
    )
