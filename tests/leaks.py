"""Tests close what they open, and so does what they try: a long conversation would end for want of open files."""

from __future__ import annotations

import contextlib
import gc
import os
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SECONDS = 30.0
"""What is closed in the background has this long, on a busy machine."""


@pytest.fixture(scope="module", autouse=True)
def nothing_stays_open(request: pytest.FixtureRequest) -> Iterator[None]:
    """After the tests of a module no file, socket or process is there that was not before.

    A test that failed has things in its hands, and is told of anyway.
    """
    before = _open()
    yield
    if request.session.testsfailed or not _open() - before:
        return
    gc.collect()  # what is known to itself alone is closed when it is found
    end = time.monotonic() + SECONDS
    while (left := _open() - before) and time.monotonic() < end:
        time.sleep(0.05)
    assert not left, f"left open: {sorted(left)}"


@pytest.fixture(autouse=True)
def nothing_is_held(request: pytest.FixtureRequest) -> Iterator[None]:
    """What fixtures gave to a test is not held beyond it."""
    yield
    request.node.funcargs.clear()


def _open() -> set[tuple[str, str]]:
    """Numbers and names of this process's open files and of its children; none where the system does not tell."""
    found: set[tuple[str, str]] = set()
    for number in os.listdir(_FILES) if os.path.isdir(_FILES) else ():
        with contextlib.suppress(OSError):  # the list itself
            name = os.readlink(f"{_FILES}/{number}")
            if not name.startswith(_PACKAGES):
                found.add((number, name))
    for children in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # threads and processes end
            for child in children.read_text().split():
                found.add((child, Path("/proc", child, "cmdline").read_text()))
    return found


_FILES = "/proc/self/fd"
_PACKAGES = sysconfig.get_path("purelib")
"""Files of installed packages are theirs to keep open, as fonts that were used."""
