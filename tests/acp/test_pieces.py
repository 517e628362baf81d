"""The parts without a connection: prompts to messages, diffs to hunks, events to updates."""

from __future__ import annotations

from pathlib import Path

import pytest
from acp.helpers import embedded_blob_resource, embedded_text_resource, resource_block, resource_link_block, text_block
from acp.schema import AgentMessageChunk, ImageContentBlock, ToolCallProgress
from hypothesis import given
from hypothesis import strategies as st

from gptoss_tui import patch
from gptoss_tui.acp.content import message_of
from gptoss_tui.acp.diffs import read_diff
from gptoss_tui.acp.updates import Translator
from gptoss_tui.agent import events as ev
from gptoss_tui.errors import UsageError
from gptoss_tui.patch.types import Edit
from gptoss_tui.tools.base import Citation

# -- prompts --------------------------------------------------------------------------------------------------------


def test_links_are_names_and_what_is_embedded_is_attached(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    blocks = [
        text_block("Look at "),
        resource_link_block("app.py", (root / "src/app.py").as_uri()),
        text_block(" and "),
        resource_block(embedded_text_resource((root / "a b.txt").as_uri(), "one\ntwo\n")),
        text_block(", "),
        resource_link_block("docs", "https://example.org/x"),
        text_block(", "),
        resource_block(embedded_text_resource((root / "big.txt").as_uri() + "#L4:9", "part")),
        resource_block(embedded_blob_resource((root / "p.png").as_uri(), "AAAA")),
    ]
    assert message_of(blocks, root) == (
        'Look at @src/app.py and @"a b.txt", docs (https://example.org/x), @big.txt#L4:9@p.png\n\n'
        "--- attached ---\n"
        "[a b.txt: lines 1-2 of 2]\none\ntwo\n\n"
        "[big.txt#L4:9]\npart\n\n"
        "[p.png: not a text; not attached]"
    )


def test_what_is_too_large_is_not_attached(tmp_path: Path) -> None:
    block = resource_block(embedded_text_resource((tmp_path / "a.txt").as_uri(), "x" * 100))
    assert "100 characters, too large to attach" in message_of([block], tmp_path, 50)


@pytest.mark.parametrize(
    "uri", ["file:///a%00b", "file:///a\0b", "file://[bad", "file:///\ud800", "://", "", "[", "x" * 9000]
)
def test_an_address_that_is_none_is_shown_as_it_is(tmp_path: Path, uri: str) -> None:
    blocks = [
        text_block("see \ud83d "),
        resource_link_block("it", uri),
        resource_block(embedded_text_resource(uri, "t")),
    ]
    message = message_of(blocks, tmp_path)
    assert message.startswith("see ? it (")
    assert message.encode()


def test_a_file_elsewhere_keeps_its_path_and_pictures_are_refused(tmp_path: Path) -> None:
    assert message_of([resource_link_block("hosts", "file:///etc/hosts")], tmp_path) == "@/etc/hosts"
    with pytest.raises(UsageError):
        message_of([ImageContentBlock(type="image", data="", mime_type="image/png")], tmp_path)


# -- diffs ----------------------------------------------------------------------------------------------------------

LINES = st.lists(
    st.sampled_from(["a", "b", "--- a/x", "+++ b/x", "@@ -1,1 +1,1 @@", "", "\\ No newline", " "]), max_size=12
)


@given(LINES, LINES, st.booleans(), st.booleans())
def test_the_hunks_of_a_diff_make_the_new_file_of_the_old_one(
    old: list[str], new: list[str], old_ends: bool, new_ends: bool
) -> None:
    before, after = _text(old, old_ends), _text(new, new_ends)
    if before == after or not before:
        return
    edits = (Edit(0, len(old), tuple(new)),)
    plan = patch.Plan(Path("/w"), (patch.FileChange("M", "f", before.encode(), after.encode(), 0o644, edits=edits),))
    diff = read_diff(patch.unified_diff(plan))
    made = before
    for hunk in diff.hunks:
        assert hunk.old is not None
        assert hunk.old in made
        made = made.replace(hunk.old, hunk.new, 1)
    assert (made, diff.rest) == (after, ())


def _text(lines: list[str], ends: bool) -> str:
    """A file of these lines. An empty last line is one only with its newline."""
    return "\n".join(lines) + ("\n" if lines and (ends or not lines[-1]) else "")


def test_new_deleted_moved_and_binary_files(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("x\n")
    (tmp_path / "gone.txt").write_text("y")
    (tmp_path / "picture").write_bytes(b"\x00\xff")
    text = (
        "*** Begin Patch\n*** Add File: new.txt\n+n\n*** Update File: old.txt\n*** Move to: moved.txt\n@@\n-x\n+z\n"
        "*** Delete File: gone.txt\n*** Delete File: picture\n*** End Patch"
    )
    diff = read_diff(patch.unified_diff(patch.plan(patch.parse(text), tmp_path)))
    assert [(hunk.path, hunk.old, hunk.new, hunk.deletes) for hunk in diff.hunks] == [
        ("new.txt", None, "n\n", False),
        ("moved.txt", "x\n", "z\n", False),
        ("gone.txt", "y", "", True),
    ]
    assert "rename to moved.txt" in diff.rest
    assert "Binary files a/picture and /dev/null differ" in diff.rest


# -- events ---------------------------------------------------------------------------------------------------------


def test_a_command_is_a_terminal_where_the_client_draws_one() -> None:
    translator = Translator(Path("/w"), terminals=True)
    told = [
        update
        for event in (
            ev.ToolCall(turn_id="t1", item_id="t1.1", tool="shell", arguments="{}", summary="shell ls"),
            ev.ToolStarted(turn_id="t1", item_id="t1.1", tool="shell", preview="ls", preview_type="command"),
            ev.ToolOutputDelta(turn_id="t1", item_id="t1.1", text="a\x1b[31m\n"),
            ev.ToolFinished(
                turn_id="t1", item_id="t1.1", tool="shell", status="error", output="a\n", seconds=0.1, exit_code=3
            ),
        )
        for update in translator.apply(event)
    ]
    metas = [update.field_meta for update in told if update.field_meta]
    assert metas[0] == {"terminal_info": {"terminal_id": "t1.1", "cwd": "/w"}}
    assert metas[1] == {"terminal_output": {"terminal_id": "t1.1", "data": "a␛[31m\r\n"}}
    assert metas[2]["terminal_exit"] == {"terminal_id": "t1.1", "exit_code": 3, "signal": None}
    assert [part.type for part in told[-1].content] == ["content", "terminal"]


def test_output_is_text_for_other_clients() -> None:
    translator = Translator(Path("/w"))
    finished = ev.ToolFinished(turn_id="t1", item_id="t1.1", tool="shell", status="ok", output="a", seconds=0.1)
    call = ev.ToolCall(turn_id="t1", item_id="t1.1", tool="shell", arguments="{}", summary="shell ls")
    *_, last = [update for event in (call, finished) for update in translator.apply(event)]
    assert isinstance(last, ToolCallProgress)
    assert (last.status, last.content[0].content.text, last.field_meta) == ("completed", "```\na\n```", None)


def test_a_call_that_nothing_ended_ends_with_the_turn() -> None:
    translator = Translator(Path("/w"))
    list(translator.apply(ev.ToolCallDelta(turn_id="t1", item_id="t1.1", tool="shell", text="{")))
    (last,) = translator.apply(ev.TurnFinished(turn_id="t1", reason="interrupted"))
    assert last.status == "failed"


def test_an_answer_waits_for_its_citations_from_the_first_mark_on() -> None:
    translator = Translator(Path("/w"))
    cited = Citation(1, "Keys", "local://keys", 4, 4, (7, 13))
    said = [
        update.content.text
        for event in (
            ev.AnswerDelta(turn_id="t1", item_id="t1.1", text="See it "),
            ev.AnswerDelta(turn_id="t1", item_id="t1.1", text="【1†L4】 and"),
            ev.AnswerDone(turn_id="t1", item_id="t1.1", text="See it 【1†L4】 and go.", tokens=1, seconds=0.1),
            ev.AnswerCited(turn_id="t1", item_id="t1.1", citations=(cited,)),
        )
        for update in translator.apply(event)
        if isinstance(update, AgentMessageChunk)
    ]
    assert said == ["See it ", "[1] and go.\n\n- [1] Keys (local://keys) L4"]


def test_a_mark_that_is_none_is_said_at_the_end_of_the_turn() -> None:
    translator = Translator(Path("/w"))
    done = ev.AnswerDone(turn_id="t1", item_id="t1.1", text="a 【1†x】", tokens=1, seconds=0.1)
    assert list(translator.apply(done)) == []
    (update,) = translator.apply(ev.TurnFinished(turn_id="t1", reason="done"))
    assert update.content.text == "a 【1†x】"
