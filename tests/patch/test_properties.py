"""Random files, random edits, random rubbish: the bytes are right or nothing changed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gptoss_tui import patch
from gptoss_tui.errors import PatchError
from tests.patch.test_scenarios import snapshot

WORDS = st.sampled_from(
    ["a", "b", "  a", "\ta", "x = 1", "+p", "-m", "@@ h", "*** s", "é", "日本", "f\fg", "u\u2028v", ""]
)
MARKS = (b"", b"\xef\xbb\xbf")


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name).resolve()


@dataclass(frozen=True)
class Case:
    """A file, and an edit script over its lines: each line kept or removed, with lines added before it."""

    lines: list[tuple[str, str]]
    script: list[tuple[bool, list[str]]]  # one item a line, and one for the end
    mark: bytes

    def old(self) -> bytes:
        return self.mark + "".join(line + ending for line, ending in self.lines).encode()

    def new_lines(self) -> list[str]:
        out: list[str] = []
        for (line, _), (kept, added) in zip([*self.lines, ("", "")], self.script, strict=True):
            out += added
            out += [line] if kept else []
        return out[:-1] if self.script[-1][0] else out

    def hunk(self) -> str:
        """One hunk that spells out the whole file: unique whatever the lines are."""
        out: list[str] = []
        for (line, _), (kept, added) in zip([*self.lines, ("", "")], self.script, strict=True):
            out += [f"+{text}" for text in added]
            out.append(f"{' ' if kept else '-'}{line}")
        return "\n".join(out[:-1])


@st.composite
def cases(draw: st.DrawFn, endings: tuple[str, ...] = ("\n", "\r\n"), marks: tuple[bytes, ...] = MARKS) -> Case:
    lines = draw(st.lists(st.tuples(WORDS, st.sampled_from(endings)), min_size=1, max_size=12))
    if draw(st.booleans()) and lines[-1][0]:
        lines[-1] = (lines[-1][0], "")
    added = st.lists(WORDS, max_size=3)
    script = [(draw(st.booleans()), draw(added)) for _ in lines]
    return Case(lines, [*script, (True, draw(added))], draw(st.sampled_from(marks)))


def wrapped(name: str, hunk: str) -> str:
    return f"*** Begin Patch\n*** Update File: {name}\n@@\n{hunk}\n*** End of File\n*** End Patch\n"


@settings(max_examples=150, deadline=None)
@given(cases())
def test_a_rendered_edit_gives_exactly_the_new_lines(case: Case) -> None:
    with directory() as root:
        file = root / "f.txt"
        file.write_bytes(case.old())
        old_lines = [line for line, _ in case.lines]
        if case.new_lines() == old_lines:
            with pytest.raises(PatchError, match=r"changes nothing|holds no changed line"):
                patch.plan(patch.parse(wrapped("f.txt", case.hunk())), root)
            return
        planned = patch.plan(patch.parse(wrapped("f.txt", case.hunk())), root)
        patch.apply(planned)
        data = file.read_bytes()
        body = data.removeprefix(case.mark)
        assert data.startswith(case.mark)
        text = body.decode()
        new = case.new_lines()
        final_newline = bool(new) and (case.lines[-1][1] != "" or not new[-1])
        assert text.replace("\r\n", "\n") == "\n".join(new) + ("\n" if final_newline else "")
        endings = {ending for _, ending in case.lines if ending}
        if endings == {"\n"} or not endings:
            assert "\r\n" not in text
        if endings == {"\r\n"}:
            assert text.count("\n") == text.count("\r\n")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_small_hunks_are_exact_or_honestly_ambiguous(data: st.DataObject) -> None:
    lines = data.draw(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=10))
    at = data.draw(st.integers(0, len(lines) - 1))
    before, after = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
    start, stop = max(at - before, 0), min(at + 1 + after, len(lines))
    hunk = (
        [f" {line}" for line in lines[start:at]] + [f"-{lines[at]}", "+NEW"] + [f" {x}" for x in lines[at + 1 : stop]]
    )
    places = sum(lines[i : i + stop - start] == lines[start:stop] for i in range(len(lines) - (stop - start) + 1))
    text = "*** Begin Patch\n*** Update File: f\n@@\n" + "\n".join(hunk) + "\n*** End Patch"
    with directory() as root:
        (root / "f").write_text("".join(f"{line}\n" for line in lines))
        if places > 1:
            with pytest.raises(PatchError, match=f"fits {places} places"):
                patch.plan(patch.parse(text), root)
            return
        patch.apply(patch.plan(patch.parse(text), root))
        assert (root / "f").read_text().split("\n")[:-1] == [*lines[:at], "NEW", *lines[at + 1 :]]


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
@settings(max_examples=60, deadline=None)
@given(cases(endings=("\n",), marks=(b"",)))
def test_git_applies_the_diff_to_the_same_bytes(case: Case) -> None:
    """The diff that a person approves, given to another program, makes the bytes that we write."""
    assume(case.new_lines() != [line for line, _ in case.lines])
    with directory() as ours, directory() as theirs:
        for root in (ours, theirs):
            (root / "f.txt").write_bytes(case.old())
            (root / "gone.txt").write_text("x\ny\n")
            (root / "old name.txt").write_text("1\n2\n3\n")
        text = wrapped("f.txt", case.hunk()).replace(
            "*** End Patch",
            "*** Delete File: gone.txt\n*** Add File: d/new.txt\n+n\n*** Update File: old name.txt\n"
            "*** Move to: d/new name.txt\n-2\n+two\n*** End Patch",
        )
        planned = patch.plan(patch.parse(text), ours)
        patch.apply(planned)
        diff = patch.unified_diff(planned) + "\n"
        command = ["git", "apply", "--unidiff-zero", "--whitespace=nowarn", "-"]
        done = subprocess.run(command, cwd=theirs, input=diff.encode(), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode() + diff
        assert snapshot(theirs) == snapshot(ours)


PIECES = st.sampled_from(
    [
        *("*** Begin Patch", "*** End Patch", "*** End of File", "*** Update File: a.txt", "*** Add File: new/n.txt"),
        *("*** Delete File: b.txt", "*** Move to: c.txt", "*** Update File: b.txt", "*** Add File: a.txt", "***", "@@"),
        *("@@ one", "@@ nothing", " one", "-one", "+one", "-two", " two", "+2", " three", "-three", "", " ", "stray"),
        *(
            "```",
            "{",
            '"',
            "apply_patch <<EOF",
            "EOF",
            "\\ No newline at end of file",
            "--- a",
            "+++ b",
            "\r",
            "+\x1b[2J",
        ),
    ]
)
EVIL = [
    *(
        "../x",
        "a/../../x",
        "/etc/x",
        "/",
        "//etc/x",
        ".",
        "./",
        "..",
        "~/x",
        "~",
        "\\..\\x",
        "a\0b",
        "a\x1bb",
        "x" * 5000,
    ),
    *("y" * 300, "../" * 50 + "etc/x", ".git/config", ".GIT/config", ".git", ".git /x", "sub/.git/x", ".g\u200cit/x"),
    *(".git./x", ".git::$DATA/x", "git~1/x", "out/x", "out", "outfile", "loop/x", "fifo", "hard.txt", "dir", "a.txt/x"),
    *("dir/../a.txt", "/proc/self/cwd/x", "．．/x", "․․/x", "a.txt/", "a.txt/.", "dir//x/../../../x", "CON", "\u202ex"),
]


def workspace(base: Path) -> tuple[Path, Path]:
    """A workspace with traps, and the folder outside that must never change."""

    outside, root = base / "outside", base / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "secret.txt").write_text("one\ntwo\n")
    (root / "a.txt").write_text("one\ntwo\nthree\n")
    (root / "b.txt").write_text("one\none\n")
    (root / "dir").mkdir()
    (root / "out").symlink_to(outside)
    (root / "outfile").symlink_to(outside / "secret.txt")
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "fifo")
    os.link(outside / "secret.txt", root / "hard.txt")
    return root, outside


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES, max_size=14))
def test_rubbish_is_a_patch_or_a_patch_error(pieces: list[str]) -> None:
    with directory() as base:
        root = base / "root"
        root.mkdir()
        (root / "a.txt").write_text("one\ntwo\nthree\n")
        (root / "b.txt").write_text("one\none\n")
        before = snapshot(root)
        try:
            planned = patch.plan(patch.parse("\n".join(pieces)), root)
        except PatchError:
            assert snapshot(root) == before
            return
        patch.unified_diff(planned)
        patch.apply(planned)
        after = snapshot(root)
        for change in planned.changes:
            kept = change.new_path or change.path
            assert (after[kept][1] if kept in after else None) == change.new
        assert {name for name in {*before, *after} if before.get(name) != after.get(name)} <= set(planned.paths)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_any_text_parses_or_is_refused(text: str) -> None:
    with contextlib.suppress(PatchError):
        assert patch.parse(f"*** Begin Patch\n{text}").operations


@pytest.mark.parametrize("form", ["*** Add File: {}\n+x", "*** Update File: {}\n-one\n+x", "*** Delete File: {}"])
def test_evil_paths_change_nothing(form: str, tmp_path: Path) -> None:
    root, outside = workspace(tmp_path)
    before = snapshot(tmp_path)
    refused = 0
    for path in EVIL:
        for body in (form.format(path), f"*** Update File: a.txt\n*** Move to: {path}\n-one\n+x"):
            try:
                planned = patch.plan(patch.parse(f"*** Begin Patch\n{body}\n*** End Patch"), root)
            except PatchError:
                refused += 1
                continue
            # What is left are odd but harmless names of the workspace itself.
            for name in planned.paths:
                assert (root / name).resolve().is_relative_to(root)
                assert not name.casefold().startswith(".git")
    assert snapshot(tmp_path) == before
    assert (outside / "secret.txt").read_text() == "one\ntwo\n"
    assert refused >= 60


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_replacing_a_text_is_what_str_replace_does(data: st.DataObject) -> None:
    text = "".join(f"{line}\n" for line in data.draw(st.lists(st.sampled_from(["a", "ab", "", " b"]), min_size=1)))
    start = data.draw(st.integers(0, len(text) - 1))
    old = text[start : data.draw(st.integers(start + 1, len(text)))]
    new = data.draw(st.sampled_from(["", "x", "x\n", "\n", "x\ny", "\nx\n\n", old]))
    expected = text.replace(old, new)
    with directory() as root:
        (root / "f").write_text(text)
        operation = patch.ReplaceText("f", old, new, text.count(old))
        if expected == text:
            with pytest.raises(PatchError, match="changes nothing"):
                patch.plan(patch.Patch((operation,)), root)
            return
        try:
            patch.apply(patch.plan(patch.Patch((operation,)), root))
        except PatchError:
            # The last newline of a file stays, so taking it away alone changes nothing.
            assert expected == text.removesuffix("\n")
            return
        ended = expected if expected.endswith("\n") or not expected else f"{expected}\n"
        assert (root / "f").read_text() == ended
