"""Patches that would take minutes are placed or refused in steps that grow with the size of the file."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from gptoss_tui import patch
from gptoss_tui.errors import PatchError
from gptoss_tui.patch import scope
from gptoss_tui.patch.compare import changed_runs
from gptoss_tui.patch.lines import MAX_LINES, LineIndex
from gptoss_tui.patch.replace import _edits
from gptoss_tui.patch.scope import Scopes


class CountingLines(list[str]):
    """Lines that count how often one is looked at."""

    looks = 0

    def __getitem__(self, key: Any) -> Any:
        self.looks += 1
        return super().__getitem__(key)


class CountingText(str):
    """A text that counts the characters that are copied out of it."""

    copied = 0

    def __getitem__(self, key: Any) -> str:
        part = super().__getitem__(key)
        self.copied += len(part)
        return part


def test_many_places_in_one_long_line_are_replaced_in_one_pass() -> None:
    text = CountingText("a;" * 5000 + "b\n")
    (edit,) = _edits(text, [0, len(text)], range(1, 10_000, 2), ";", ",\n")
    assert edit.lines == ("a,",) * 5000 + ("b",)
    assert text.copied <= len(text)


def test_texts_of_few_different_lines_count_as_one_change() -> None:
    rnd = random.Random(1)
    old, new = ([rnd.choice("xy") for _ in range(4500)] for _ in range(2))
    assert list(changed_runs(["head", *old, "tail"], ["head", *new, "tail"])) == [(1, 4501, 1, 4501)]


def test_what_can_be_compared_is() -> None:
    assert list(changed_runs("abcdef", "abXdYZf")) == [(2, 3, 2, 3), (4, 5, 4, 6)]
    assert list(changed_runs("same", "same")) == []


def test_where_blocks_end_is_looked_for_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope, "_MAX_MEASURED", 10_000)
    lines = CountingLines(["}"] * 5000)
    scopes = Scopes(LineIndex(lines)).of(("}", "}"))
    assert len(scopes) == 50
    assert lines.looks < 3 * 10_000


def test_a_file_of_too_many_lines_is_no_text_and_can_be_deleted(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"\n" * (MAX_LINES + 1))
    with pytest.raises(PatchError, match="more than 1000000 lines"):
        patch.plan(patch.parse("*** Begin Patch\n*** Update File: long\n+x\n*** End of File\n*** End Patch"), tmp_path)
    patch.apply(patch.plan(patch.parse("*** Begin Patch\n*** Delete File: long\n*** End Patch"), tmp_path))
    assert not (tmp_path / "long").exists()
