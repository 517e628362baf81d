"""What is known about a sequence is known up to a cut, and of a fork on its own."""

from __future__ import annotations

import pytest

from gptoss_tui.engine.cache.history import History


def window(position: int) -> memoryview:
    """A snapshot that tells where it was taken."""
    return memoryview(bytes([position]))


@pytest.fixture
def history() -> History[memoryview]:
    """40 tokens with snapshots every 16, at a mark, and at a cut."""
    history = History[memoryview]()
    history.extend(range(40), 16, window)
    history.mark(21, window)
    history.cut_at(25, window)
    history.opening = 20
    return history


def facts(history: History[memoryview]) -> object:
    """All that is known."""
    windows = {position: bytes(taken) for position, taken in history.windows.items()}
    return list(history.tokens), windows, list(history.marks), history.cut, history.opening


@pytest.mark.parametrize(
    ("position", "windows", "marks", "cut", "opening"),
    [
        (40, [16, 32, 21, 25], [21], 25, 20),
        (31, [16, 21, 25], [21], 25, 20),
        (25, [16, 21, 25], [21], 25, 20),
        (24, [16, 21], [21], 0, 20),
        (20, [16], [], 0, 20),
        (19, [16], [], 0, None),
        (15, [], [], 0, None),
    ],
)
def test_a_cut_leaves_what_came_before_it(
    history: History[memoryview], position: int, windows: list[int], marks: list[int], cut: int, opening: int | None
) -> None:
    history.truncate(position)
    expected = {taken: bytes([taken]) for taken in windows}
    assert facts(history) == (list(range(position)), expected, marks, cut, opening)
    assert history.nearest(position) == max(windows, default=0)


def test_a_fork_is_cut_and_neither_changes_the_other(history: History[memoryview]) -> None:
    before = facts(history)
    fork = history.fork(24)
    assert facts(history) == before
    fork.extend([7] * 30, 16, window)
    fork.mark(30, window)
    fork.cut_at(28, window)
    assert facts(history) == before
    forked = facts(fork)
    history.truncate(3)
    history.extend([9] * 40, 16, window)
    history.mark(11, window)
    assert facts(fork) == forked
    assert fork.tokens == [*range(24), *[7] * 30]
