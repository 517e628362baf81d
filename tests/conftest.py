"""What all tests and the programs that they start have in common."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from tests.leaks import nothing_is_held, nothing_stays_open
from tests.skips import pytest_sessionfinish

__all__ = ["nothing_is_held", "nothing_stays_open", "pytest_sessionfinish"]

# Set before torch comes in. Test models are small, and tests run side by side: threads that wait for each other, and
# spin while they do, cost more than they give.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Whoever starts the tests by nohup ignores hang-ups, and so would every program that they start.
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Triton decides when it is imported whether it compiles its kernels or interprets them.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# Edits of tests are not kept among the edits of the person who runs them.
if "GPTOSS_TUI_UNDO" not in os.environ:
    os.environ["GPTOSS_TUI_UNDO"] = tempfile.mkdtemp(prefix="gptoss-tui-undo-")
    atexit.register(shutil.rmtree, os.environ["GPTOSS_TUI_UNDO"], ignore_errors=True)

# Nor does what they allowed, or were allowed, count for the other.
if "GPTOSS_TUI_APPROVALS" not in os.environ:
    os.environ["GPTOSS_TUI_APPROVALS"] = tempfile.mkdtemp(prefix="gptoss-tui-approvals-")
    atexit.register(shutil.rmtree, os.environ["GPTOSS_TUI_APPROVALS"], ignore_errors=True)

# A shell that starts the tests in the background has Ctrl+C ignored, and so would all programs that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# `make test` asks the same questions every time: a failure is then the change's. `HYPOTHESIS_PROFILE=explore` asks new
# ones, and more of them.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("explore", max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first: else, at the end, one process is left alone with it."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """What was imported stays: no search for garbage goes through it again, and a fork does not copy it.

    Only at the very end everything goes: extensions look for what was left behind.
    """
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)
