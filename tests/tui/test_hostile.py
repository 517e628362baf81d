"""Nothing that a model, a tool, a file or an error says reaches the terminal as anything but text."""

from __future__ import annotations

import functools
import os
import re
import sys
from pathlib import Path

import pexpect
import pyte
import pytest

from tests.tui.hostile_app import MARK

ROOT = Path(__file__).parents[2]
ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|.?)", re.DOTALL
)
STYLE_OR_MOVE = re.compile(r"\x1b\[[0-9;:]*[mH]")
LINK = re.compile(r"\x1b\]8;(?:id=[0-9-]+;https://[a-z]+\.example/[!-:<-~]*|;)\x1b\\")
"""A link to the one place that the script names, with nothing in it but visible ASCII."""


TITLE = re.compile(r"\x1b\][02];[^\x00-\x1f\x7f-\x9f]*gptoss-tui[^\x00-\x1f\x7f-\x9f]*\x07")
"""The title that the app gives to the window: what goes on, its name, the folder."""


@functools.cache
def capture(name: str, size: tuple[int, int]) -> str:
    """Everything that the app writes to a terminal of `size` (rows, columns)."""
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    child = pexpect.spawn(
        sys.executable,
        ["-m", "tests.tui.hostile_app", name],
        dimensions=size,
        env=environment,
        cwd=str(ROOT),
        timeout=60,
        encoding="utf-8",
        codec_errors="replace",
        use_poll=True,
    )
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, child.before
    output: str = child.before
    return output


def sequences(output: str) -> set[str]:
    """The escape sequences of `output` other than colours, moves, titles and links to where they may lead."""
    known = (STYLE_OR_MOVE, LINK, TITLE)
    return {one for one in set(ESCAPE.findall(output)) if not any(form.fullmatch(one) for form in known)}


@pytest.mark.parametrize("size", [(24, 80), (50, 160)])
def test_hostile_text_adds_no_escape_sequence(size: tuple[int, int]) -> None:
    harmless, hostile = capture("harmless", size), capture("hostile", size)
    assert MARK in hostile, "the text is shown"
    assert any(LINK.fullmatch(one) and MARK in one for one in ESCAPE.findall(hostile)), "links are links"
    assert sequences(hostile) <= sequences(harmless)
    controls = {c for c in hostile if ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0} - {"\x1b", "\r", "\n"}
    assert controls <= {c for c in harmless if ord(c) < 0x20}
    assert not {"\u202e", "\u200b", "\u2028", "\U000e0041"} & set(hostile)


def test_the_title_of_the_terminal_is_the_app_s_own() -> None:
    output = capture("hostile", (24, 80))
    emulator = pyte.Screen(80, 24)
    pyte.Stream(emulator).feed(re.sub(r"\x1b\[[>=?<][0-9;$]*[a-zA-Z]", "", output))
    assert emulator.title != MARK
    assert all(TITLE.fullmatch(one) for one in ESCAPE.findall(output) if one.startswith(("\x1b]0;", "\x1b]2;")))
