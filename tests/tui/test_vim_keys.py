"""Vim keys without a widget. The table holds what Vim 9 does with the same keys; `|` is the cursor."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gptoss_tui.tui.vim.command import Command, parse
from gptoss_tui.tui.vim.editor import Vim
from gptoss_tui.tui.vim.motions import Span, last_place

CASES = [
    ("one |two three", "w", "one two |three"),
    ("one |two three", "3l", "one two| three"),
    ("o|ne\n\ntwo", "w", "one\n|\ntwo"),
    ("one tw|o", "b", "one |two"),
    ("on|e, two", "e", "one|, two"),
    ("one.two |x", "B", "|one.two x"),
    ("|one.two x", "W", "one.two |x"),
    ("one.t|wo x", "E", "one.tw|o x"),
    ("  one t|wo", "0", "|  one two"),
    ("  one t|wo", "^", "  |one two"),
    ("|one two", "$", "one tw|o"),
    ("one\ntwo\nth|ree", "gg", "|one\ntwo\nthree"),
    ("o|ne\n  two", "G", "one\n  |two"),
    ("o|ne\ntwo\nthree", "2G", "one\n|two\nthree"),
    ("|one two three", "fe", "on|e two three"),
    ("|one two three", "2ft", "one two |three"),
    ("one two thre|e", "Fo", "one tw|o three"),
    ("|one two", "tw", "one |two"),
    ("one tw|o", "Tn", "on|e two"),
    ("|a.b.c.d", "f.;", "a.b|.c.d"),
    ("|a.b.c.d", "f.2;", "a.b.c|.d"),
    ("|a.b.c.d", "f.;,", "a|.b.c.d"),
    ("|a.b.c.d", "t.;", "a.|b.c.d"),
    ("one |two three", "x", "one |wo three"),
    ("|abc", "5x", "|"),
    ("ab|c", "X", "a|c"),
    ("one |two", "D", "one| "),
    ("one\ntwo |x\nthree", "dd", "one\n|three"),
    ("one\ntw|o", "dd", "|one"),
    ("o|ne\ntwo\nthree", "2dd", "|three"),
    ("on|e", "dd", "|"),
    ("one |two three", "dw", "one |three"),
    ("one |two\nthree", "dw", "one| \nthree"),
    ("|one two three", "d2w", "|three"),
    ("|one two three", "2dw", "|three"),
    ("one tw|o", "db", "one |o"),
    ("one\n|two", "db", "|two"),
    ("|one two", "de", "| two"),
    ("one |two", "d0", "|two"),
    ("one\ntw|o\nthree", "dj", "|one"),
    ("one\ntw|o", "dk", "|"),
    ("one\ntw|o\nthree", "dG", "|one"),
    ("one\ntw|o\nthree", "dgg", "|three"),
    ("one\ntw|o", "dj", "one\ntw|o"),
    ("|one two three", "dft", "|wo three"),
    ("|one two three", "dtt", "|two three"),
    ("one two thre|e", "dFt", "one two |e"),
    ("one t|wo three", "diw", "one | three"),
    ("one t|wo three", "daw", "one |three"),
    ("one two th|ree", "daw", "one tw|o"),
    ("one.t|wo three", "diW", "| three"),
    ("one.t|wo three", "daW", "|three"),
    ("on|e  two", "d2aw", "|"),
    ('say "hel|lo you" now', 'di"', 'say "|" now'),
    ('say "hel|lo you" now', 'da"', "say |now"),
    ('s|ay "hello"', 'di"', 'say "|"'),
    ("f(a, |g(b), c)", "di(", "f(|)"),
    ("f(a, g(|b), c)", "da(", "f(a, g|, c)"),
    ("f(a, g(b)|, c)", "dib", "f(|)"),
    ("x = [1, |2]", "di]", "x = [|]"),
    ("{ a |}", "di{", "{|}"),
    ("it's 'so|' now", "ca'X<esc>", "it's 's|' now"),
    ("one |two", "iX<esc>", "one |Xtwo"),
    ("one |two", "aX<esc>", "one t|Xwo"),
    ("  one |two", "IX<esc>", "  |Xone two"),
    ("one |two", "AX<esc>", "one two|X"),
    ("on|e\ntwo", "oX<esc>", "one\n|X\ntwo"),
    ("on|e\ntwo", "OX<esc>", "|X\none\ntwo"),
    ("|", "aX<esc>", "|X"),
    ("one |two three", "cwX<esc>", "one |X three"),
    ("one| two", "cwX<esc>", "one|Xtwo"),
    ("|one two three", "c2wX<esc>", "|X three"),
    ("|one two", "ceX<esc>", "|X two"),
    ("one\n  tw|o\nthree", "ccX<esc>", "one\n|X\nthree"),
    ("one t|wo", "SX<esc>", "|X"),
    ("one |two", "CX<esc>", "one |X"),
    ("|one", "sX<esc>", "|Xne"),
    ("one t|wo three", "ciwX<esc>", "one |X three"),
    ("one\ntw|o\nthree", "cjX<esc>", "one\n|X"),
    ("on|e\ntwo", "yyp", "one\n|one\ntwo"),
    ("on|e\ntwo", "yyP", "|one\none\ntwo"),
    ("on|e\ntwo", "yyjp", "one\ntwo\n|one"),
    ("|one two", "ywP", "one| one two"),
    ("|one two", "ywwp", "one tone| wo"),
    ("|one two", "yiw$p", "one twoon|e"),
    ("|one", "y$3p", "ooneoneon|ene"),
    ("|ab", "xp", "b|a"),
    ("o|ne\ntwo", "Y2p", "one\n|one\none\ntwo"),
    ("|one two", "dwP", "one| two"),
    ("|one\ntwo", "ddp", "two\n|one"),
    ("o|ne\n  two", "J", "one| two"),
    ("o|ne\ntwo\nthree", "3J", "one two| three"),
    ("one|(\n)", "J", "one(|)"),
    ("|one", "rX", "|Xne"),
    ("|one", "2rX", "X|Xe"),
    ("o|ne", "5rX", "o|ne"),
    ("|oNe", "~", "O|Ne"),
    ("|oNe", "3~", "On|E"),
    ("|one two three", "dw.", "|three"),
    ("|one two three", "cwX<esc>w.", "X |X three"),
    ("|one\ntwo", "A!<esc>j.", "one!\ntwo|!"),
    ("|a b c d e", "x3.", "|c d e"),
    ("|one\ntwo", "oX<esc>.", "one\nX\n|X\ntwo"),
    ("one two |x", "ciwY<esc>0.", "|Y two Y"),
    ("|one two three", "vex", "| two three"),
    ("one |two three", "vbd", "|wo three"),
    ("|one two", "vlly$p", "one twoon|e"),
    ("|one two", "veU", "|ONE two"),
    ("|ONE two", "veu", "|one two"),
    ("|one two", "vw~", "|ONE Two"),
    ("|one two three", "vecX<esc>", "|X two three"),
    ("one\nt|wo\nthree", "Vd", "one\n|three"),
    ("o|ne\ntwo\nthree", "Vjd", "|three"),
    ("one\ntwo\nth|ree", "Vkd", "|one"),
    ("o|ne\ntwo\nthree", "VjJ", "one| two\nthree"),
    ("one\nt|wo", "VcX<esc>", "one\n|X"),
    ("one |two three", "viwd", "one | three"),
    ("one |two three", "vawd", "one |three"),
    ("|one two three", "veeohd", "| three"),
    ("|one two", "ywwvep", "one one| "),
    ("o|ne\ntwo", "yyjVp", "one\n|one"),
    ("on|e two", "v<esc>x", "on| two"),
    ("on|e\ntwo", "V<esc>x", "o|n\ntwo"),
    ("one t|wo\nthree", "vVd", "|three"),
    ("|one two", "d<esc>x", "|ne two"),
]


def keys_of(keys: str) -> list[str]:
    """`cwX<esc>` as keys."""
    first, *others = keys.split("<esc>")
    return [*first, *(key for other in others for key in ("escape", *other))]


def play(vim: Vim, keys: list[str], text: str, at: int, whole: tuple[Span, ...] = ()) -> tuple[str, int]:
    """What an editor has after these keys. In insert mode it inserts letters itself."""
    for key in keys:
        step = vim.press(key, text, at, whole)
        if step is None and vim.mode == "insert" and len(key) == 1:
            text, at = text[:at] + key + text[at:], at + 1
        elif step is not None and step.change is not None:
            text, at = step.change.applied(text), step.change.cursor
        elif step is not None and step.cursor is not None:
            at = step.cursor
        elif step is not None and step.action == "cursor_down":
            at = text.index("\n", at) + 1
    return text, at


def in_normal_mode() -> Vim:
    vim = Vim()
    vim.press("escape", "", 0)
    return vim


@pytest.mark.parametrize(("before", "keys", "after"), CASES)
def test_keys_do_what_they_do_in_vim(before: str, keys: str, after: str) -> None:
    text, at = play(in_normal_mode(), keys_of(keys), before.replace("|", ""), before.index("|"))
    assert f"{text[:at]}|{text[at:]}" == after


def test_commands_are_read_with_their_counts() -> None:
    assert parse("2d3w") == Command("w", "d", 6)
    assert parse("10G") == Command("G", count=10)
    assert parse("0") == Command("0")
    assert parse("d2") is parse("dg") is parse("ci") is parse("df") is None
    assert parse("3fx") == Command("f", count=3, character="x")
    assert parse("iw", selecting=True) == Command("iw")
    assert parse("dd") == Command("d", "d")
    for keys in ("dq", "q", "gx", "yx", "2Z"):
        with pytest.raises(ValueError, match="no command"):
            parse(keys)


def test_keys_that_are_not_vims_are_left_to_the_editor() -> None:
    vim = Vim()
    for key in ("a", "enter", "left", "ctrl+r"):
        assert vim.press(key, "one", 1) is None, key
    assert vim.press("escape", "one", 1) is not None
    for key in ("enter", "tab", "up", "pageup", "escape"):
        assert vim.press(key, "one", 1) is None, key
    assert vim.press("?", "", 0) is None, "the help, while nothing is typed"
    assert vim.press("q", "one", 1) is not None, "a letter never types in normal mode"


def test_escape_drops_an_unfinished_command_first() -> None:
    vim = in_normal_mode()
    vim.press("2", "one", 0)
    vim.press("d", "one", 0)
    assert vim.pending == "2d"
    assert vim.press("escape", "one", 0) is not None
    assert vim.pending == ""
    assert vim.press("escape", "one", 0) is None
    vim.press("d", "one", 0)
    assert vim.press("enter", "one", 0) is not None, "it sends nothing half-way"
    assert vim.press("enter", "one", 0) is None


def test_a_selection_ends_when_something_else_changes_the_text() -> None:
    vim = in_normal_mode()
    play(vim, ["$", "v"], "one two three", 12)
    assert vim.mode == "visual"
    assert vim.press("d", "one", 2) is not None
    assert (vim.mode, vim.pending) == ("normal", "d")


def test_undo_and_history_are_left_to_the_editor_by_name() -> None:
    vim = in_normal_mode()
    steps = [vim.press(key, "one", 0) for key in ("u", "3", "u", "ctrl+r", "j", "k", "/")]
    found = [(step.action, step.times) for step in steps if step is not None and step.action]
    assert found == [
        ("undo", 1),
        ("undo", 3),
        ("redo", 1),
        ("cursor_down", 1),
        ("cursor_up", 1),
        ("search_history", 1),
    ]


def test_what_was_pasted_while_typing_is_repeated_too() -> None:
    vim = in_normal_mode()
    text, at = play(vim, ["A"], "one\ntwo", 0)
    text, at = text[:at] + " pasted" + text[at:], at + len(" pasted")
    text, at = play(vim, ["escape", "j", "."], text, at)
    assert text == "one pasted\ntwo pasted"


ANY_KEYS = st.lists(
    st.sampled_from([*'hjklwbeWBE0^$GgdcyxXDCYsSpPJrRvVoOiaIA~.;,fFtTuU123"(q ', "escape", "left", "ctrl+r"])
)


@given(st.text(alphabet='ab .,("\n', max_size=40), ANY_KEYS)
@example(" ", ["d", "a", "w", "p"])
def test_no_keys_lead_out_of_the_text(text: str, keys: list[str]) -> None:
    vim, at = in_normal_mode(), 0
    for key in keys:
        before = text
        text, at = play(vim, [key], text, at) if key != "j" else (text, at)
        assert 0 <= at <= len(text)
        if vim.mode == "normal":
            assert at <= last_place(text, at), (before, key)


def test_what_is_put_or_typed_behind_a_chip_is_behind_all_of_it() -> None:
    chip, whole = "[paste 1: 40 lines]", ((1, 20),)
    vim = in_normal_mode()
    assert play(vim, ["x"], f"a{chip}b", 0, ((1, 20),))[0] == f"{chip}b"
    assert play(vim, ["p"], f"x{chip}b", 1, whole)[0] == f"x{chip}ab"
    assert play(vim, ["a", "!"], f"x{chip}b", 1, whole)[0] == f"x{chip}!b"


@given(st.lists(st.sampled_from([*"hlwbe0$dcyxXDpPJr~vVi a", "escape"]), max_size=30))
def test_no_keys_split_what_belongs_together(keys: list[str]) -> None:
    chip, vim = "[paste 1: 40 lines]", in_normal_mode()
    text, at = f"a {chip} b", 0
    for key in keys:
        start = text.find(chip)
        whole = ((start, start + len(chip)),) if start >= 0 else ()
        if whole and start < at < start + len(chip):
            at = start  # as the composer does
        if vim.mode == "insert" and len(key) == 1:
            continue
        text, at = play(vim, [key], text, at, whole)
        rest = text.replace(chip, "")
        assert "[" not in rest
        assert "]" not in rest
