"""What the terminal sends: keys pass as they are, everything else cannot reach the draft nor end the app."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual._xterm_parser import XTermParser

from gptoss_tui.tui.terminal.attention import best_way, call, window_title
from gptoss_tui.tui.terminal.background import dark_from_environment, is_dark
from gptoss_tui.tui.terminal.input_filter import InputFilter, Pasted, Piece, Reply

KEYS = [
    *("a", "é", "\r", "\t", "\x7f", "\x03", "\x1b", "\x1b[A", "\x1bOP", "\x1b[1;5C", "\x1b[15~", "\x1b[Z", "\x1b,"),
    *("\x1b[27u", "\x1b[97;5u", "\x1b[13;2u", "\x1b[I", "\x1b[O", "\x1b[<0;10;5M", "\x1b[<35;1;1m", "\x1b[?2026;2$y"),
    *("\x1b[48;30;100;600;1000t", "\x1b[3;4R", "\x1b[200~pasted \x1b]11;rgb:0/0/0\x07 text\x1b[201~"),
]
REPLIES = [
    *(
        "\x1b[<NaN;NaN;NaNM",
        "\x1b[<0;99999999999;5M",
        "\x1b[<1;2M",
        "\x1b[99999999999u",
        "\x1b[55296;5u",
        "\x1b[?62;22c",
    ),
    *("\x1b[>0;276;0c", "\x1b[0n", "\x1b[?1u", "\x1b[48;0;0;0;0t", "\x1b[4;600;800t", "\x1b]10;rgb:ff/ff/ff\x1b\\"),
    *("\x1bP>|XTerm(388)\x1b\\", "\x1b_Gi=1;OK\x1b\\", "\x1b]52;c;aGk=\x07"),
]


def filtered(chunks: list[str]) -> tuple[str, list[Reply]]:
    """What the parser gets when the terminal sends `chunks` and then nothing for a while."""
    feed = InputFilter()
    text, replies = "", []
    for chunk in chunks:
        kept, found = feed.feed(chunk)
        text += "".join(map(as_sent, kept))
        replies += found
    return text + feed.flush(), replies


def as_sent(piece: Piece) -> str:
    return f"\x1b[200~{piece.text}\x1b[201~" if isinstance(piece, Pasted) else piece


@given(st.lists(st.sampled_from(KEYS)))
def test_keys_pass_as_they_are(keys: list[str]) -> None:
    assert filtered(["".join(keys)])[0] == "".join(keys)


@given(st.lists(st.one_of(st.sampled_from(KEYS[:12]), st.sampled_from(REPLIES))))
def test_replies_are_taken_out(pieces: list[str]) -> None:
    wanted = "".join(piece for piece in pieces if piece not in REPLIES)
    stream = "".join(f"{piece}." for piece in pieces)
    assert filtered([stream])[0] == "".join("." if piece in REPLIES else f"{piece}." for piece in pieces)
    assert len(wanted) <= len(stream)


@pytest.mark.parametrize("reply", REPLIES)
def test_replies_may_come_in_two_pieces(reply: str) -> None:
    for cut in range(2, len(reply)):
        assert filtered(["x" + reply[:cut], reply[cut:] + "y"])[0] == "xy", cut


@given(
    st.lists(st.text(alphabet=st.sampled_from("\x1b[]P_<>?;:0123456789NaMmutcRy~ab\x07\\"), max_size=40), max_size=8)
)
def test_no_input_ends_the_parser(chunks: list[str]) -> None:
    feed, parser = InputFilter(), XTermParser()
    for chunk in [*chunks]:
        for piece in feed.feed(chunk)[0]:
            for message in parser.feed(as_sent(piece)):
                assert message is not None
    assert isinstance(feed.flush(), str)


@given(st.lists(st.text(max_size=30), max_size=6))
def test_text_without_escapes_is_kept(chunks: list[str]) -> None:
    chunks = [chunk.replace("\x1b", "") for chunk in chunks]
    assert filtered(chunks)[0] == "".join(chunks)


def test_a_sequence_that_nobody_ends_is_given_up() -> None:
    text = "\x1b]0;" + "x" * 5000
    assert filtered([text])[0] == text
    assert InputFilter().feed("\x1b]")[0] == []
    assert filtered(["\x1b]"])[0] == "\x1b]"


def test_odd_numbers_would_end_the_parser_without_the_filter() -> None:
    with pytest.raises((ValueError, OverflowError)):
        list(XTermParser().feed("\x1b[99999999999u"))
    assert InputFilter().feed("\x1b[99999999999ux")[0] == ["x"]


def test_what_the_terminal_says_of_its_colours() -> None:
    assert filtered(["a\x1b]11;rgb:1010/1515/1818\x1b\\b"]) == ("ab", [Reply(background="rgb:1010/1515/1818")])
    assert filtered(["\x1b[?997;2n"]) == ("", [Reply(scheme="light")])


@pytest.mark.parametrize(
    ("colour", "dark"),
    [
        ("rgb:1010/1515/1818", True),
        ("rgb:f/f/e", False),
        ("rgba:ffff/ffff/ffff/ffff", False),
        ("#000", True),
        ("#fafafa", False),
        ("#12345", None),
        ("red", None),
        ("rgb:1/2", None),
    ],
)
def test_background(colour: str, dark: bool | None) -> None:
    assert is_dark(colour) is dark


@pytest.mark.parametrize(
    ("value", "dark"),
    [("15;0", True), ("0;15", False), ("0;default;15", False), ("", None), ("x", None), ("0;999", None)],
)
def test_background_from_the_environment(value: str, dark: bool | None) -> None:
    assert dark_from_environment({"COLORFGBG": value}) is dark


@pytest.mark.parametrize(
    ("environ", "way"),
    [
        ({"TERM": "xterm-256color"}, "bell"),
        ({"TERM_PROGRAM": "iTerm.app"}, "osc9"),
        ({"TERM": "xterm-kitty"}, "osc9"),
        ({"VTE_VERSION": "7000"}, "osc777"),
        ({"TERM": "foot"}, "osc777"),
        ({"TMUX": "/tmp/x", "TERM_PROGRAM": "iTerm.app"}, "bell"),
    ],
)
def test_how_to_call(environ: dict[str, str], way: str) -> None:
    assert best_way(environ) == way


@given(st.text(), st.text())
def test_no_text_ends_a_call_or_a_title(title: str, body: str) -> None:
    nine, seven = call("osc9", title, body), call("osc777", title, body)
    assert nine.startswith("\x1b]9;")
    assert nine[4:-1].isprintable() or not set(nine[4:-1]) & set("\x1b\x07\x9c")
    assert seven.count(";") == 3
    assert not set(window_title(title)[4:-1]) & {chr(code) for code in [*range(32), *range(127, 160)]}
    assert call("off", title, body) == ""


def test_keys_in_the_form_of_xterm_are_those_of_everybody() -> None:
    pieces = InputFilter().feed("\x1b[27;2;13~\x1b[27;5;106~")[0]
    assert [event.key for event in XTermParser().feed("".join(map(as_sent, pieces)))] == ["shift+enter", "ctrl+j"]  # type: ignore[attr-defined]


def test_focus_is_still_understood() -> None:
    (kept,) = InputFilter().feed("\x1b[I\x1b[O")[0]
    assert isinstance(kept, str)
    assert [type(message) for message in XTermParser().feed(kept)] == [events.AppFocus, events.AppBlur]


@given(st.text(max_size=40), st.lists(st.integers(1, 60), max_size=8))
def test_a_paste_is_one_piece_however_it_comes(pasted: str, cuts: list[int]) -> None:
    pasted = pasted.replace("\x1b[201~", "") + "\x1b[20"
    feed, stream = InputFilter(), f"a\x1b[200~{pasted}\x1b[201~b"
    edges = [0, *sorted({min(len("a\x1b[200~") + cut, len(stream)) for cut in cuts}), len(stream)]
    found: list[Piece] = []
    for begin, end in pairwise(edges):
        found += feed.feed(stream[begin:end])[0]
        assert feed.flush() == ""  # a pause in a paste types nothing
    assert found == ["a", Pasted(pasted), "b"]
