"""What goes into a prompt: fuzzy matching, mentions, chips, drafts, attachments, the editor outside. No screen."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptoss_tui.agent.attached import NOTE_CHARS
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.composing.attachments import compose, room_for
from gptoss_tui.tui.composing.chips import CHIP_LINES, Chips, span_around
from gptoss_tui.tui.composing.draft import Draft, DraftStore
from gptoss_tui.tui.composing.editor import EditorError, edit_text, editor_command
from gptoss_tui.tui.composing.files import FileFinder, list_files
from gptoss_tui.tui.composing.fuzzy import MAX_SCORED, FuzzyIndex, match, rank
from gptoss_tui.tui.composing.mentions import find_mentions, open_mention, shown_path, spell
from gptoss_tui.tui.composing.message import MARKER, Note, split_message
from tests.tui.scripted_agent import Clock

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40)
LINE = st.text(alphabet="abcXYZ/_-. 0é", max_size=24)


# Fuzzy matching


@given(LINE, LINE)
def test_a_match_has_the_letters_of_the_query_in_order(query: str, text: str) -> None:
    found = match(query, text)
    wanted = "".join(query.split()).lower()
    if found is not None:
        assert list(found.positions) == sorted(set(found.positions))
        assert "".join(text[place].lower() for place in found.positions) == wanted
    else:
        rest = iter(text.lower())
        assert not all(char in rest for char in wanted)


@given(LINE, st.data())
def test_what_is_left_of_a_text_always_matches_it(text: str, data: st.DataObject) -> None:
    kept = data.draw(st.lists(st.booleans(), min_size=len(text), max_size=len(text)))
    query = "".join(char for char, keep in zip(text, kept, strict=True) if keep)
    assert match(query, text) is not None


@given(TEXT, TEXT)
def test_any_texts_can_be_matched(query: str, text: str) -> None:
    found = match(query, text)
    assert found is None or all(0 <= place < len(text) for place in found.positions)


@given(st.lists(LINE.filter(bool), max_size=30, unique=True), LINE)
def test_the_index_finds_what_looking_at_each_text_finds(texts: list[str], query: str) -> None:
    found = FuzzyIndex(texts).search(query, len(texts) + 1)
    wanted = {one.text for one in rank(query, texts, len(texts) + 1)}
    assert {one.text for one in found} == wanted


def test_better_matches_come_first() -> None:
    paths = ["docs/maintenance.md", "src/domain/x.py", "src/main.py", "src/main/loader.py", "m/a/i/n.txt"]
    assert rank("main", paths, 1)[0].text == "src/main.py"
    assert rank("sml", paths, 1)[0].text == "src/main/loader.py"
    assert rank("", paths, 2) == rank(" ", paths, 2)
    assert [one.text for one in rank("", paths, 2)] == paths[:2], "without a query the order stays"


def test_a_search_looks_at_a_bounded_number_of_candidates() -> None:
    index = FuzzyIndex([f"src/module{number}/file{number}.py" for number in range(MAX_SCORED * 3)])
    asked: list[int] = []
    assert len(index.search("file", 10, lambda: bool(asked.append(1)))) == 10
    assert len(asked) <= MAX_SCORED


def test_a_search_that_is_not_wanted_any_more_ends_without_a_result() -> None:
    assert FuzzyIndex(["a", "ab"]).search("a", 5, lambda: True) == []


# Mentions


@given(st.text(min_size=1, max_size=30))
def test_every_path_has_a_spelling_that_is_safe_and_read_back(path: str) -> None:
    written = spell(path)
    assert to_terminal_line(written) == written
    assert [mention.path for mention in find_mentions(f"see {written} please")] == [path]


@given(TEXT)
def test_mentions_lie_where_they_say(text: str) -> None:
    for mention in find_mentions(text):
        assert text[mention.start] == "@"
        assert mention.start < mention.end <= len(text)
        assert mention.path


def test_mentions_begin_words_and_end_before_punctuation() -> None:
    found = find_mentions('mail ada@example.org, see @src/a.py, (@b.md) and @"my file.txt".')
    assert [mention.path for mention in found] == ["src/a.py", "b.md", "my file.txt"]


@pytest.mark.parametrize(
    ("before", "query"),
    [("@", ""), ("see @src/ma", "src/ma"), ('@"my fi', "my fi"), ("a@b", None), ("@a b", None), ('@"a" ', None)],
)
def test_the_mention_at_the_cursor(before: str, query: str | None) -> None:
    found = open_mention(before)
    assert (found.query if found else None) == query


def test_paths_with_controls_are_shown_escaped() -> None:
    assert shown_path("a\x1b[31m\n.txt") == "a\\u{1b}[31m\\u{a}.txt"
    assert spell("\u202egnp.exe") == '@"\\u{202e}gnp.exe"'


# Chips


@given(st.lists(st.one_of(TEXT, st.just("x\n" * 40), st.just("[paste 1: 40 lines]")), max_size=6))
def test_folded_text_expands_to_what_was_pasted(pastes: list[str]) -> None:
    chips = Chips()
    draft = " ".join(chips.fold(text) for text in pastes)
    known = "[paste 1: 40 lines]"
    if known not in pastes:
        assert chips.expand(draft) == " ".join(pastes)
    for text in pastes:
        assert chips.fold(text).count("\n") <= CHIP_LINES


def test_what_a_paste_says_is_never_read_as_a_chip() -> None:
    chips = Chips()
    first = chips.fold("secret\n" * 30)
    second = chips.fold(f"{first}\n" * 30)
    assert chips.expand(second) == f"{first}\n" * 30


def test_the_same_paste_has_one_chip_and_a_label_is_never_used_twice() -> None:
    chips = Chips()
    one = chips.fold("a\n" * 30)
    assert chips.fold("a\n" * 30) == one
    assert one == "[paste 1: 30 lines]"
    assert chips.fold("b\n" * 30) == "[paste 2: 30 lines]"
    assert chips.fold("c" * 5000) == "[paste 3: 5,000 characters]"
    restored = Chips()
    restored.restore({one: "a\n" * 30, "no label": "x"})
    assert restored.fold("z\n" * 30) == "[paste 2: 30 lines]"
    assert restored.expand(f"{one} no label") == "a\n" * 30 + " no label"


@given(TEXT, TEXT)
def test_an_edited_draft_gets_its_chips_back(before: str, after: str) -> None:
    chips = Chips()
    pasted = "row\n" * 30
    label = chips.fold(pasted)
    draft = f"{before}{label}{after}"
    assert chips.expand(chips.refold(chips.expand(draft), chips.used(draft))) == chips.expand(draft)


def test_a_place_in_a_chip_is_found() -> None:
    chips = Chips()
    label = chips.fold("a\n" * 30)
    spans = chips.spans(f"see {label} now")
    assert spans == [(4, 4 + len(label))]
    assert span_around(spans, 4) is None
    assert span_around(spans, 5) == spans[0]
    assert chips.spans("[paste 9: 31 lines]") == [], "only what was pasted is a chip"


# Drafts


Open = Callable[[Path, str], DraftStore]


@pytest.fixture
def drafts() -> Iterator[Open]:
    """Opens stores, and closes them after the test."""
    with contextlib.ExitStack() as stack:

        def open_store(folder: Path, workspace: str) -> DraftStore:
            store = DraftStore(folder, workspace)
            stack.callback(store.close)
            return store

        yield open_store


def test_a_draft_survives_and_is_for_its_user_only(drafts: Open, tmp_path: Path) -> None:
    store = drafts(tmp_path / "drafts", "/w")
    store.save(Draft("half a thou", {"[paste 1: 30 lines]": "x\n" * 29}))
    (file,) = (tmp_path / "drafts").glob("*.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    store.close()
    again = drafts(tmp_path / "drafts", "/w")
    assert again.load() == Draft("half a thou", {"[paste 1: 30 lines]": "x\n" * 29})
    again.save(Draft())
    assert list((tmp_path / "drafts").glob("*.json")) == []
    assert drafts(tmp_path / "drafts", "/elsewhere").load() == Draft()


def test_two_apps_of_a_workspace_have_a_draft_each(drafts: Open, tmp_path: Path) -> None:
    one, other = drafts(tmp_path, "/w"), drafts(tmp_path, "/w")
    one.save(Draft("one"))
    other.save(Draft("other"))
    one.close()
    assert drafts(tmp_path, "/w").load().text == "one"


def test_the_draft_of_a_killed_process_is_found(drafts: Open, tmp_path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path; from gptoss_tui.tui.composing.draft import *;"
        f"DraftStore(Path({str(tmp_path)!r}), '/w').save(Draft('last words')); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert drafts(tmp_path, "/w").load().text == "last words"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"text": 3, "chips": {}}', '{"text": "a", "chips": []}'])
def test_a_damaged_draft_is_an_empty_one(drafts: Open, tmp_path: Path, content: str) -> None:
    store = drafts(tmp_path, "/w")
    store.save(Draft("x"))
    (file,) = tmp_path.glob("*.json")
    file.write_text(content)
    store.close()
    assert drafts(tmp_path, "/w").load() == Draft()


def test_a_draft_that_cannot_be_kept_is_done_without(drafts: Open, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = drafts(tmp_path / "file" / "folder", "/w")
    store.save(Draft("x"))
    assert store.load() == Draft()


# Files of the workspace


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)


@pytest.fixture(params=["git", "plain"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with ignored files, in and outside of a repository."""
    for name in ("src/app.py", "src/deep/er/x.py", "build/out.bin", "README.md", "debug.log"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x\n")
    (tmp_path / ".gitignore").write_text("build/\n*.log\n")
    if request.param == "git":
        git(tmp_path, "init", "-q")
    return tmp_path


def test_files_are_those_that_git_does_not_ignore(workspace: Path) -> None:
    listed = set(list_files(workspace).index.texts)
    assert listed == {".gitignore", "README.md", "src/", "src/app.py", "src/deep/", "src/deep/er/", "src/deep/er/x.py"}


def test_listing_runs_nothing_that_the_repository_configures(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("")
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    git(tmp_path, "config", "core.fsmonitor", str(trap))
    assert "a.py" in list_files(tmp_path).index.texts
    assert not (tmp_path / "sprung").exists()


def test_a_listing_is_kept_for_a_while_and_then_made_anew(tmp_path: Path) -> None:
    clock = Clock()
    finder = FileFinder(tmp_path, clock)
    (tmp_path / "one.py").write_text("")
    assert [found.text for found in finder.search("one", 5)] == ["one.py"]
    (tmp_path / "other.py").write_text("")
    assert finder.search("other", 5) == []
    clock.now += 60
    assert [found.text for found in finder.search("other", 5)] == ["other.py"]
    assert finder.scans == 2


def test_a_workspace_that_is_gone_has_no_files(tmp_path: Path) -> None:
    assert list_files(tmp_path / "gone").index.texts == ()


# What goes with a message


def test_small_files_go_along_as_read_file_gives_them(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\n")
    sent = compose("look at @a.py and @a.py", tmp_path, [], 1000)
    assert sent == f"look at @a.py and @a.py\n\n{MARKER}\n[a.py: lines 1-2 of 2]\none\ntwo"
    assert split_message(sent) == ("look at @a.py and @a.py", ["a.py: lines 1-2 of 2"])


def test_what_cannot_go_along_is_named(tmp_path: Path) -> None:
    (tmp_path / "big.txt").write_text("x" * 2000)
    (tmp_path / "image.png").write_bytes(b"\x89PNG\0\0")
    (tmp_path / "src").mkdir()
    sent = compose("@big.txt @image.png @src/ @nothing @ada", tmp_path, [], 1000)
    assert split_message(sent)[1] == [
        "big.txt: 2000 bytes, too large to attach; read_file reads parts of it",
        "image.png: not a text file that can be read; not attached",
        "src/: a folder; list_files lists it",
    ]
    assert "xxx" not in sent


def test_nothing_outside_the_workspace_goes_along(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    inside = tmp_path / "w"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path / "secret")
    text = "@../secret @link @/etc/passwd @~/.ssh/id_rsa"
    assert compose(text, inside, [], 10_000) == text


def test_all_that_goes_along_stays_in_its_room(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_text("y" * 400)
    sent = compose("@a @b @c", tmp_path, [Note("the user ran: make (exit code 1)", "z" * 50_000)], 2000)
    assert len(sent) < 2400
    assert "characters left out" in sent
    assert room_for(8192) < room_for(131_072) <= room_for(0)


def test_notes_go_along_shortened() -> None:
    sent = compose("why?", Path("/"), [Note("the user ran: x (exit code 0)", "")], 5000)
    assert sent == f"why?\n\n{MARKER}\n[the user ran: x (exit code 0)]\n(no output)"
    long = compose("why?", Path("/"), [Note("t", "a" * NOTE_CHARS + "b" * NOTE_CHARS)], 100_000)
    assert len(long) < NOTE_CHARS + 200
    assert long.endswith("bbb")


# The editor outside


def script(folder: Path, body: str) -> str:
    path = folder / "edit.sh"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_the_editor_gets_the_draft_and_its_text_comes_back(tmp_path: Path) -> None:
    editor = script(tmp_path, f'cp "$2" {tmp_path}/seen; ls -ld "$(dirname "$2")" > {tmp_path}/mode; echo new >> "$2"')
    command = editor_command({"VISUAL": f"{editor} --wait", "PATH": os.environ["PATH"]})
    assert command == [editor, "--wait"]
    assert edit_text("old\n", command) == "old\nnew\n"
    assert (tmp_path / "seen").read_text() == "old\n"
    assert (tmp_path / "mode").read_text().startswith("drwx------")


def test_an_editor_that_fails_leaves_the_draft(tmp_path: Path) -> None:
    with pytest.raises(EditorError, match="exit code 3"):
        edit_text("old", [script(tmp_path, "exit 3")])
    with pytest.raises(EditorError, match="not found"):
        editor_command({"EDITOR": "no-such-editor", "PATH": os.environ["PATH"]})
    with pytest.raises(EditorError, match="cannot be read"):
        editor_command({"EDITOR": "'vi", "PATH": os.environ["PATH"]})
    with pytest.raises(EditorError) as none:
        editor_command({"PATH": str(tmp_path)})
    assert "EDITOR" in (none.value.hint or "")


def test_a_saved_draft_is_json_that_names_its_chips(drafts: Open, tmp_path: Path) -> None:
    drafts(tmp_path, "/w").save(Draft("a", {"l": "p"}))
    (file,) = tmp_path.glob("*.json")
    assert json.loads(file.read_text()) == {"text": "a", "chips": {"l": "p"}}
