"""The diff shows every line that will be written, whatever the file was before."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss_tui import patch
from gptoss_tui.errors import PatchError


def diff(root: Path, *lines: str) -> str:
    return patch.unified_diff(patch.plan(patch.parse("\n".join(("*** Begin Patch", *lines, "*** End Patch"))), root))


def test_hunks_whose_context_meets_are_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("".join(f"{i}\n" for i in range(1, 31)))
    shown = diff(tmp_path, "*** Update File: a", "-5", "+five", "+and", "@@", "-12", "@@", "-20", "+twenty")
    assert shown == (
        "--- a/a\n+++ b/a\n"
        "@@ -2,14 +2,14 @@\n 2\n 3\n 4\n-5\n+five\n+and\n 6\n 7\n 8\n 9\n 10\n 11\n-12\n 13\n 14\n 15\n"
        "@@ -17,7 +17,7 @@\n 17\n 18\n 19\n-20\n+twenty\n 21\n 22\n 23"
    )


@pytest.mark.parametrize(
    ("content", "hunk", "shown"),
    [
        (
            "a\nb",
            ("-b", "+c"),
            "@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+c\n\\ No newline at end of file",
        ),
        (
            "a\nb",
            (" a", "-b"),
            "@@ -1,2 +1,1 @@\n-a\n-b\n\\ No newline at end of file\n+a\n\\ No newline at end of file",
        ),
        (
            "a\nb",
            (" b", "+c"),
            "@@ -1,2 +1,3 @@\n a\n-b\n\\ No newline at end of file\n+b\n+c\n\\ No newline at end of file",
        ),
        ("a\nb", ("-a", "+c"), "@@ -1,2 +1,2 @@\n-a\n+c\n b\n\\ No newline at end of file"),
    ],
)
def test_final_newlines(tmp_path: Path, content: str, hunk: tuple[str, ...], shown: str) -> None:
    (tmp_path / "f").write_text(content)
    assert diff(tmp_path, "*** Update File: f", *hunk) == f"--- a/f\n+++ b/f\n{shown}"


def test_empty_files(tmp_path: Path) -> None:
    (tmp_path / "old").touch(mode=0o644)
    assert diff(tmp_path, "*** Add File: new") == "diff --git a/new b/new\nnew file mode 100644"
    assert diff(tmp_path, "*** Delete File: old") == "diff --git a/old b/old\ndeleted file mode 100644"


def test_binary_files(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"\0")
    gone = "Binary files a/b and /dev/null differ"
    assert diff(tmp_path, "*** Delete File: b") == gone
    replaced = "Binary files a/b and b/b differ\n--- a/b\n+++ b/b\n@@ -0,0 +1,1 @@\n+text"
    assert diff(tmp_path, "*** Delete File: b", "*** Add File: b", "+text") == replaced


def test_a_byte_order_mark_that_is_added_is_shown(tmp_path: Path) -> None:
    assert diff(tmp_path, "*** Add File: a", "+\ufeffx").endswith("\n+\ufeffx")


@pytest.mark.parametrize("text", ["a\0b", "a\udc80b", "\ud800"])
def test_characters_that_no_text_file_holds_are_refused(text: str) -> None:
    with pytest.raises(PatchError, match="NUL characters or lone surrogates"):
        patch.parse(f"*** Begin Patch\n*** Add File: a\n+{text}\n*** End Patch")


def test_replacing_a_file_by_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x\n")
    with pytest.raises(PatchError, match="changes nothing"):
        diff(tmp_path, "*** Delete File: a", "*** Add File: a", "+x")
