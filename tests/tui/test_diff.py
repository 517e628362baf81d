"""Diffs as rows: numbers, full paths, nothing hidden, nothing disguised."""

from __future__ import annotations

from gptoss_tui.tui.diff import count_changes, parse_unified, render_diff
from gptoss_tui.tui.theme import DARK, Palette
from tests.tui.scripted_agent import DIFF

PALETTE = Palette.from_variables(DARK.to_color_system().generate(), dark=True)


def plain(diff: str, width: int = 40, root: str = "") -> list[str]:
    return [strip.text.rstrip() for strip in render_diff(diff, width, PALETTE, root)]


def test_rows_have_their_line_numbers() -> None:
    rows = [(row.kind, row.old, row.new) for row in parse_unified(DIFF)]
    assert rows == [
        ("file", None, None),
        ("hunk", 1, 1),
        ("context", 1, 1),
        ("removed", 2, None),
        ("added", None, 2),
        ("context", 3, 3),
    ]
    assert count_changes(parse_unified(DIFF)) == (1, 1)


def test_paths_are_shown_in_full_below_the_root() -> None:
    assert plain(DIFF, root="/home/ada/project")[0] == " /home/ada/project/hello.py"


def test_new_deleted_and_moved_files_say_so() -> None:
    assert parse_unified("--- /dev/null\n+++ b/n.py\n@@ -0,0 +1 @@\n+x\n")[0].text == "n.py  (new file)"
    assert parse_unified("--- a/o.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n")[0].text == "o.py  (deleted)"
    assert parse_unified("--- a/o.py\n+++ b/n.py\n@@ -1 +1 @@\n-x\n+y\n")[0].text == "o.py → n.py"


def test_content_cannot_pass_for_a_file_header_or_a_hunk() -> None:
    diff = "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n--- a/evil\n+++ b/evil\n-@@ -1 +1 @@\n+ok\n"
    assert [(row.kind, row.text) for row in parse_unified(diff)[2:]] == [
        ("removed", "-- a/evil"),
        ("added", "++ b/evil"),
        ("removed", "@@ -1 +1 @@"),
        ("added", "ok"),
    ]


def test_line_separators_and_returns_are_seen_and_start_no_row() -> None:
    diff = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\r\n+a\u2028+++ b/etc\n"
    assert [row.text for row in parse_unified(diff)[2:]] == ["a␍", "a⏎+++ b/etc"]


def test_files_without_lines_are_named_in_full() -> None:
    moved = "diff --git a/x b/y z\nrename from x\nrename to y z"
    assert plain(moved, root="/w") == [" /w/x → /w/y z  (moved)"]
    assert plain("Binary files a/x and /dev/null differ", root="/w") == [" /w/x  (binary, deleted)"]
    empty = "diff --git a/e b/ e b/e b/ e\nnew file mode 100644"
    assert plain(empty, root="/w") == [" /w/e b/ e", " new file mode 100644"]


def test_a_moved_file_with_changes_is_named_once() -> None:
    moved = "diff --git a/x b/y\nrename from x\nrename to y\n--- a/x\n+++ b/y\n@@ -1 +1 @@\n-a\n+b"
    assert plain(moved, root="/w") == [" /w/x → /w/y", "1   - a", "  1 + b"]


def test_lines_that_are_no_diff_are_kept() -> None:
    odd = "Binary files a/x and b/x differ\nrename to y\n"
    diff = f"{odd}--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n\\ No newline at end of file"
    assert [row.text for row in parse_unified(diff) if row.kind == "note"] == [
        "Binary files a/x and b/x differ",
        "rename to y",
        "\\ No newline at end of file",
    ]


def test_long_lines_go_on_in_the_next_row_with_all_their_text() -> None:
    diff = f"--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n+{'0123456789' * 9}\n"
    rows = plain(diff, width=30)[1:]
    assert rows[0].startswith("  1 + 0123")
    assert "".join(row[6:] for row in rows) == "0123456789" * 9
    assert {strip.cell_length for strip in render_diff(diff, 30, PALETTE)} == {30}


def test_a_hunk_says_that_lines_stand_above_it_only_when_they_do() -> None:
    added = "--- /dev/null\n+++ b/n.py\n@@ -0,0 +1,1 @@\n+x\n"
    assert plain(added) == [" n.py  (new file)", "  1 + x"]
    changed = "--- a/o.py\n+++ b/o.py\n@@ -1,1 +1,1 @@\n-x\n+y\n@@ -9,1 +9,1 @@\n-v\n+w\n"
    assert [row.strip() for row in plain(changed)] == ["o.py", "1   - x", "1 + y", "⋯", "9   - v", "9 + w"]
