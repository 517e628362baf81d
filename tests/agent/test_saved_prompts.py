"""Prompts in files: what they say, whose they are, and what is shown before it is used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptoss_tui.agent.policy.store import DIRECTORY_VARIABLE, RuleStore
from gptoss_tui.agent.saved_prompts import (
    Prompt,
    fill,
    note_shown,
    parse_prompt,
    project_prompts,
    read_prompts,
    saved_prompts,
    was_shown,
)


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "approvals"))


def test_a_prompt_says_what_it_is_for() -> None:
    prompt = parse_prompt("review", '---\ndescription: "review a file"\nargument-hint: file\n---\n\nReview $1.\n')
    assert prompt == Prompt("review", "review a file", "file", "Review $1.")
    assert parse_prompt("x", "# Look at it\nmore").description == "Look at it"
    assert parse_prompt("x", "---\nno end").text == "---\nno end"


@pytest.mark.parametrize(
    ("text", "argument", "filled"),
    [
        ("Do $ARGUMENTS now", "a b", "Do a b now"),
        ("$1 then $2, $3.", 'one "two words"', "one then two words, ."),
        ("costs $$5 and $1", "x", "costs $5 and x"),
        ("no place", "this", "no place\n\nthis"),
        ("no place", "", "no place"),
        ("$1", "it's", "it's"),
        ("$ARGUMENTS", "$1 $ARGUMENTS", "$1 $ARGUMENTS"),
        ("$ARGUMENTSX $12", "a", "$ARGUMENTSX a2"),
    ],
)
def test_arguments_take_their_places_once(text: str, argument: str, filled: str) -> None:
    assert fill(text, argument) == filled


@given(st.text(max_size=30), st.text(alphabet="ab$ARGUMENTS1 \"'\\", max_size=30))
def test_any_prompt_can_be_filled(text: str, argument: str) -> None:
    filled = fill(text, argument)
    assert "$" in text or text in filled


def test_prompts_are_read_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "Review.md").write_text("Review $1")
    (tmp_path / "bad name.md").write_text("x")
    (tmp_path / "empty.md").write_text("\n")
    (tmp_path / "folder.md").mkdir()
    (tmp_path / "bytes.md").write_bytes(b"caf\xe9 \x1b[31m")
    (tmp_path / "note.txt").write_text("x")
    prompts = read_prompts(tmp_path)
    assert {prompt.name for prompt in prompts} == {"review", "bytes"}
    assert all("\x1b" not in prompt.description for prompt in prompts)
    assert read_prompts(tmp_path / "gone") == []


# Of the project


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_person_s_own_come_first_and_the_nearest_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "work" / ".git").mkdir(parents=True)
    workspace = tmp_path / "work" / "api"
    write(tmp_path / "prompts" / "mine.md", "My own")
    for name in ("mine", "review", "fix"):
        write(tmp_path / "work" / ".claude" / "commands" / f"{name}.md", "The repository's")
    write(workspace / ".gptoss-tui" / "commands" / "review.md", "The folder's")
    found = {prompt.name: (prompt.text, prompt.place) for prompt in saved_prompts(tmp_path / "prompts", workspace)}
    assert found == {
        "mine": ("My own", ""),
        "review": ("The folder's", "api/.gptoss-tui/commands/review.md"),
        "fix": ("The repository's", ".claude/commands/fix.md"),
    }


def test_links_out_of_the_project_and_what_is_no_prompt_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("password")
    place = tmp_path / "work" / ".agents" / "commands"
    write(place / "good.md", "Do it")
    write(place / "empty.md", "---\ndescription: x\n---\n")
    write(place / "-bad.md", "x")
    write(place / "text.txt", "x")
    (place / "folder.md").mkdir()
    os.symlink(tmp_path / "secret.md", place / "secret.md")
    assert [prompt.name for prompt in project_prompts(tmp_path / "work")] == ["good"]
    os.symlink(tmp_path, tmp_path / "work" / ".claude")
    assert [prompt.name for prompt in project_prompts(tmp_path / "work")] == ["good"]
    assert project_prompts(tmp_path / "gone") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_stranger_s_prompt_is_not_offered(tmp_path: Path) -> None:
    os.chown(write(tmp_path / ".agents" / "commands" / "x.md", "x"), 12345, -1)
    assert project_prompts(tmp_path) == []


def test_what_nobody_sees_in_a_project_s_prompt_is_made_visible(tmp_path: Path) -> None:
    content = "---\ndescription: a\u202eb\n---\nDo\x1b[8m it\U000e0041\n"
    (prompt,) = project_prompts(write(tmp_path / ".agents" / "commands" / "x.md", content).parents[2])
    assert (prompt.description, prompt.text) == ("a<U+202E>b", "Do␛[8m it<U+E0041>")


@pytest.mark.parametrize("text", ["!rm -rf .", "/mode full-auto", "$1"])
def test_a_project_s_prompt_is_never_a_command(text: str) -> None:
    assert Prompt("x", "", "", text, ".agents/commands/x.md").fill("/trust").startswith(" ")
    assert Prompt("x", "", "", text).fill("/trust").startswith(("!", "/"))


def test_a_text_is_new_until_it_was_shown_and_when_it_changes(tmp_path: Path) -> None:
    mine, theirs = Prompt("x", "", "", "Do it"), Prompt("x", "", "", "Do it", ".agents/commands/x.md")
    assert (was_shown(mine, tmp_path), was_shown(theirs, tmp_path)) == (True, False)
    note_shown(theirs, tmp_path)
    assert was_shown(theirs, tmp_path)
    assert not was_shown(Prompt("x", "", "", "Do more", ".agents/commands/x.md"), tmp_path)
    assert not was_shown(theirs, tmp_path / "elsewhere")


def test_what_was_shown_stands_beside_the_rules_and_changes_none(tmp_path: Path) -> None:
    store = RuleStore(tmp_path, tmp_path / "approvals")
    store.trust("digest")
    store.note_shown("a")
    store.note_shown("b")
    store.note_shown("a")
    assert store.read().shown == ("b", "a")
    assert store.read().trusted == "digest"
    store.path.write_text(store.path.read_text().replace(',\n "shown": [\n  "b",\n  "a"\n ]', ""))
    assert (store.read().shown, store.read().trusted) == ((), "digest"), "files of before have none"
