"""Tests that need a sandbox are skipped where there is none; on CI they fail."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

REQUIRED = tuple(filter(None, os.environ.get("GPTOSS_TUI_REQUIRE_SANDBOXES", "").split(",")))
"""Names of sandboxes whose absence is a failure, as `docker,bubblewrap`."""


def missing(reason: str, name: str = "bubblewrap") -> NoReturn:
    """Skip the test, or fail it where the sandbox is required."""
    if name in REQUIRED:
        pytest.fail(f"{reason} (GPTOSS_TUI_REQUIRE_SANDBOXES names {name})")
    pytest.skip(reason)
