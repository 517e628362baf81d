"""Diffs as rows: numbers, full paths, nothing hidden, nothing disguised."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.color import ColorSystem

from gptoss_tui.tui.diff import count_changes, draw_diff, parse_unified, render_diff
from gptoss_tui.tui.diff.render import MIN_SPLIT_WIDTH
from gptoss_tui.tui.diff.words import changed_words, pair_lines
from gptoss_tui.tui.theme import CONTRAST, DARK, Palette
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


def test_with_sixteen_colours_changed_lines_are_red_and_green() -> None:
    variables = CONTRAST.to_color_system().generate()
    palette = Palette.from_variables(variables, dark=True, few_colours=True)
    system = ColorSystem.STANDARD
    for strip in render_diff("--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-import this\n+import that\n", 40, palette)[1:]:
        inks = {
            segment.style.color.downgrade(system).number
            for segment in strip
            if segment.style and segment.style.color and segment.text.strip(" 0123456789")
        }
        (ink,) = inks
        assert ink in ((1, 9) if "- " in strip.text else (2, 10))
        changed = [s.text for s in strip if s.style and s.style.underline]
        assert changed == ["this" if "- " in strip.text else "that"]


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
    assert rows[0].startswith("1 + 0123")
    assert "".join(row[4:] for row in rows) == "0123456789" * 9
    assert {strip.cell_length for strip in render_diff(diff, 30, PALETTE)} == {30}


def test_a_hunk_says_that_lines_stand_above_it_only_when_they_do() -> None:
    added = "--- /dev/null\n+++ b/n.py\n@@ -0,0 +1,1 @@\n+x\n"
    assert plain(added) == [" n.py  (new file)", "1 + x"]
    changed = "--- a/o.py\n+++ b/o.py\n@@ -1,1 +1,1 @@\n-x\n+y\n@@ -9,1 +9,1 @@\n-v\n+w\n"
    assert [row.strip() for row in plain(changed)] == ["o.py", "1   - x", "1 + y", "⋯", "9   - v", "9 + w"]


PAIR = """\
--- a/a.py
+++ b/a.py
@@ -1,3 +1,3 @@
 x = 1
-total = price * count
+total = price * amount + tax
 y = 2
"""


def test_side_by_side_puts_a_line_beside_what_it_became() -> None:
    drawn = draw_diff(PAIR, 120, PALETTE, layout="split")
    (row,) = [strip.text for strip in drawn.strips if "price" in strip.text]
    assert row.index("price * count") < 60 < row.index("price * amount + tax")
    assert {strip.cell_length for strip in drawn.strips} == {120}
    assert drawn.files == ((0, "a.py"),)


def test_a_file_that_comes_or_goes_takes_the_whole_width() -> None:
    new = "--- /dev/null\n+++ b/n.py\n@@ -0,0 +1,2 @@\n+x\n+y\n"
    gone = "--- a/o.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-z\n"
    rows = [strip.text.rstrip() for strip in draw_diff(new + PAIR + gone, 120, PALETTE, layout="split").strips]
    assert rows[:3] == [" n.py  (new file)", "1 + x", "2 + y"]
    assert any("count" in row and "amount" in row for row in rows), "a file that changes is still side by side"
    assert rows[-2:] == [" o.py  (deleted)", "1 - z"]


def test_side_by_side_needs_room() -> None:
    narrow = [strip.text for strip in draw_diff(PAIR, MIN_SPLIT_WIDTH - 1, PALETTE, layout="split").strips]
    assert narrow == [strip.text for strip in draw_diff(PAIR, MIN_SPLIT_WIDTH - 1, PALETTE).strips]


def test_changed_words_are_marked_in_both_lines() -> None:
    marked = {
        segment.text
        for strip in render_diff(PAIR, 80, PALETTE)
        for segment in strip
        if segment.style and segment.style.bgcolor in (PALETTE.added_word.bgcolor, PALETTE.removed_word.bgcolor)
    }
    assert {"count", "amount"} <= {word.strip() for word in marked}
    assert "total" not in "".join(marked)


def test_files_left_out_are_only_named() -> None:
    two = PAIR + PAIR.replace("a.py", "b.py")
    drawn = draw_diff(two, 80, PALETTE, left_out=frozenset({"b.py"}))
    text = [strip.text.rstrip() for strip in drawn.strips]
    assert [path for _, path in drawn.files] == ["a.py", "b.py"]
    assert text[-1] == " b.py  left out"
    assert sum("price" in row for row in text) == 2


def test_the_path_of_every_kind_of_change() -> None:
    diff = (
        "--- /dev/null\n+++ b/new.py\n@@ -0,0 +1,1 @@\n+x\n--- a/gone.py\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-x\n"
        "diff --git a/old b/moved\nrename from old\nrename to moved\n"
        "diff --git a/empty b/empty\nnew file mode 100644\nBinary files a/data.bin and /dev/null differ"
    )
    paths = [row.path for row in parse_unified(diff) if row.kind == "file"]
    assert paths == ["new.py", "gone.py", "moved", "empty", "data.bin"]


@given(st.lists(st.text("ab c"), max_size=8), st.lists(st.text("ab c"), max_size=8))
def test_pairs_hold_every_line_once_and_in_order(removed: list[str], added: list[str]) -> None:
    pairs = pair_lines(removed, added)
    assert [old for old, _ in pairs if old is not None] == list(range(len(removed)))
    assert [new for _, new in pairs if new is not None] == list(range(len(added)))


@given(st.text("abc +-", max_size=30), st.text("abc +-", max_size=30))
def test_changed_words_leave_what_both_have(old: str, new: str) -> None:
    went, came = changed_words(old, new)
    rest = ["".join(line[a:b] for a, b in _outside(spans, line)) for line, spans in ((old, went), (new, came))]
    assert rest[0] == rest[1] or not (went or came)


def _outside(spans: list[tuple[int, int]], line: str) -> list[tuple[int, int]]:
    edges = [0, *(edge for span in spans for edge in span), len(line)]
    return list(zip(edges[::2], edges[1::2], strict=True))


def test_colours_never_change_the_text() -> None:
    body = "\n".join(f"+{line}" for line in ('x = "\u202e"', "\tdef f():", "", "'''", "  # é"))
    diff = f"--- /dev/null\n+++ b/a.py\n@@ -0,0 +1,5 @@\n{body}\n"
    coloured, plain = ([s.text for s in render_diff(text, 60, PALETTE)] for text in (diff, diff.replace("a.py", "a.q")))
    assert coloured[1:] == plain[1:]
