"""Log-probabilities as JSON has them."""

from __future__ import annotations

_NEVER = -9999.0


def json_logprob(logprob: float) -> float:
    """A finite number: JSON has neither infinity nor NaN.

    Impossible tokens get a very low one, and so do those whose log-probability a remote model does not report.
    """
    return max(_NEVER, logprob)  # with NaN as its second argument, `max` returns the first
