"""Session files: what is written, who may read it, and what survives damage."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from gptoss_tui.agent.events import AnswerDone, TurnStarted, to_dict
from gptoss_tui.agent.session import DIRECTORY_VARIABLE, SessionStore, load_session, open_session, sessions_directory
from gptoss_tui.agent.sessions import list_sessions, resumed_session
from gptoss_tui.errors import SessionError


def written(directory: Path) -> Path:
    file = SessionStore(directory).create(app="1.0", model="nano", workspace=Path("/w"), date="2026-01-02")
    file.append(to_dict(TurnStarted(turn_id="t1", text="hi\u2028there \x1b")))
    file.append({"type": "history", "op": "user", "text": "hi"})
    file.append(to_dict(AnswerDone(turn_id="t1", item_id="m1", text="Hello", tokens=1, seconds=0.5)))
    file.close()
    return file.path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    state = load_session(written(tmp_path / "s"))
    assert (state.header.model, state.header.workspace, state.header.date) == ("nano", "/w", "2026-01-02")
    assert [event["type"] for event in state.events] == ["turn_started", "answer_done"]
    assert state.events[0] == to_dict(TurnStarted(turn_id="t1", text="hi\u2028there \x1b"))
    assert [record["op"] for record in state.history] == ["user"]
    assert state.notices == ()


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    path = written(tmp_path / "s")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_every_cut_of_the_file_opens_with_all_whole_lines(tmp_path: Path) -> None:
    path = written(tmp_path)
    data = path.read_bytes()
    header_end = data.index(b"\n")
    for cut in range(header_end + 1, len(data)):
        path.write_bytes(data[:cut])
        state = load_session(path)
        whole = data[:cut].count(b"\n") - 1
        rest = data[:cut].rsplit(b"\n", 1)[1]
        complete_without_newline = rest.endswith(b"}") and data[cut : cut + 1] == b"\n"
        assert len(state.events) + len(state.history) == whole + complete_without_newline
        assert bool(state.notices) == bool(rest and not complete_without_newline)
        assert path.read_bytes() == data[:cut]


def test_a_torn_session_goes_on_behind_the_torn_line(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:-5])
    file = open_session(path)
    file.append(to_dict(TurnStarted(turn_id="t2", text="again")))
    file.close()
    state = load_session(path)
    assert [event.get("text") for event in state.events] == ["hi\u2028there \x1b", "again"]
    assert state.notices == (f"line 4 of {path.name} is damaged and is left out",)


@pytest.mark.parametrize(
    "data", [b"", b"{}\n", b"\x00\x00", b'{"type":"session","v":99}\n', b'{"type":"session","v":1}\n']
)
def test_a_file_without_a_header_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(data)
    with pytest.raises(SessionError):
        load_session(path)


def test_missing_and_unwritable_places_are_session_errors(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="cannot be read"):
        load_session(tmp_path / "gone.jsonl")
    (tmp_path / "file").write_text("")
    with pytest.raises(SessionError, match="The conversation cannot be saved in"):
        SessionStore(tmp_path / "file").create(app="1", model="m", workspace=tmp_path, date=None)


def test_the_directory_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    assert sessions_directory() == tmp_path
    monkeypatch.delenv(DIRECTORY_VARIABLE)
    assert sessions_directory().name == "sessions"


def test_lines_that_no_program_wrote_are_left_out_or_refused(tmp_path: Path) -> None:
    deep = b"[" * 100_000
    odd = (
        {"v": 1, "type": ["answer_done"]},
        {"v": 1, "type": "answer_done", "item_id": "t1.1", "text": 5, "tokens": 1, "seconds": 0.5},
        {"v": 1, "type": "answer_done", "item_id": "t1.1", "text": "a", "tokens": 1, "seconds": float("nan")},
        {"v": 1, "type": "turn_finished", "reason": "done", "unsent": "abc"},
    )
    path = tmp_path / "one.jsonl"
    header = {
        "v": 2,
        "type": "session",
        "id": "one",
        "created": "",
        "app": "",
        "model": "",
        "workspace": "",
        "date": None,
    }
    lines = [json.dumps(record).encode() for record in (header, *odd)]
    path.write_bytes(b"\n".join([*lines, deep, b""]))
    state = load_session(path)
    assert state.notices == (f"line {len(lines) + 1} of one.jsonl is damaged and is left out",)
    assert resumed_session(state, tmp_path).events == ()
    for operation in ({"op": "rewind", "turn": "x"}, {"op": "user", "turn": 1e999}, {"op": "user", "turn": 1}, {}):
        path.write_bytes(b"\n".join([lines[0], json.dumps({"type": "history", **operation}).encode()]))
        assert list_sessions(tmp_path) == ()
        with pytest.raises(SessionError, match="damaged"):
            resumed_session(load_session(path), tmp_path)
