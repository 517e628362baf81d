"""Attacks on a terminal through text, and what must stay readable."""

from __future__ import annotations

import unicodedata

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptoss_tui.sanitize import to_terminal_line, to_terminal_source, to_terminal_text

ATTACKS = {
    "clipboard (OSC 52)": "\x1b]52;c;cm0gLXJmIC8=\x07",
    "clipboard, ST": "\x1b]52;c;cm0gLXJmIC8=\x1b\\",
    "clipboard, C1": "\x9d52;c;cm0gLXJmIC8=\x9c",
    "title (OSC 0)": "\x1b]0;root@prod\x07",
    "title, C1": "\x9d2;root@prod\x07",
    "link (OSC 8)": "\x1b]8;;https://evil.example\x1b\\docs\x1b]8;;\x1b\\",
    "palette (OSC 4)": "\x1b]4;0;rgb:ff/00/00\x07",
    "notification (OSC 9)": "\x1b]9;approve\x07",
    "file transfer (OSC 1337)": "\x1b]1337;File=name=eA==;inline=0:AAAA\x07",
    "cursor report (CSI 6n)": "\x1b[6n",
    "device attributes": "\x1b[c\x1b[>c\x1b[=c\x1bZ",
    "title report": "\x1b[21t",
    "window resize": "\x1b[8;1;1t",
    "clear screen": "\x1b[2J\x1b[H\x1b[3J",
    "CSI as C1": "\x9b2J\x9b6n",
    "alternate screen": "\x1b[?1049h",
    "mouse reports": "\x1b[?1003h\x1b[?1006h",
    "bracketed paste off": "\x1b[?2004l",
    "reset (RIS)": "\x1bc",
    "soft reset": "\x1b[!p",
    "line drawing": "\x1b(0lqqk\x1b(B",
    "shift out": "\x0eabc\x0f",
    "DCS request": "\x1bP$q q\x1b\\",
    "DCS sixel": "\x1bPq#0;2;0;0;0#0~~\x1b\\",
    "DCS as C1": "\x90+q544e\x9c",
    "APC (kitty graphics)": "\x1b_Gf=24,s=1,v=1;AAAA\x1b\\",
    "PM and SOS": "\x1b^x\x1b\\\x1bXx\x1b\\",
    "colour": "\x1b[31;1mred\x1b[0m",
    "hidden text": "\x1b[8mhidden\x1b[28m",
    "backspaces": "rm -rf /\b\b\b\b\b\b\b\bls",
    "overwritten line": "rm -rf /\rls      ",
    "bell, NUL, ENQ, DEL": "\x07\x00\x05\x7f",
    "vertical moves": "\x0b\x0c\x1bM\x1bD\x84\x85\x8d",
}
INVISIBLE = [
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
    *(0x00AD, 0x061C, 0x115F, 0x180E, 0x200B, 0x200E, 0x200F, 0x2060, 0x2062, 0x3164, 0xFE00, 0xFEFF, 0xFFA0),
    *(0xE0001, 0xE0041, 0xE007F, 0xE0100, 0xE01EF),
]
# Visible marks, and the joiners that scripts and emoji need, although Unicode calls them format characters.
DRAWN_FORMAT = {0x200C, 0x200D, *range(0x0600, 0x0606), 0x06DD, 0x070F, 0x0890, 0x0891, 0x08E2, 0x110BD, 0x110CD}


def is_safe(text: str) -> bool:
    """An independent idea of safe: by Unicode category, not by the table under test."""
    return all(
        char in "\t\n"
        or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
        or (ord(char) in DRAWN_FORMAT and unicodedata.category(char) == "Cf")
        for char in text
    )


class Recorder(pyte.Screen):
    """A terminal that notes everything it was made to do besides drawing."""

    def __init__(self) -> None:
        self.replies: list[str] = []
        self.titles: list[str] = []
        super().__init__(80, 24)

    def write_process_input(self, data: str) -> None:
        self.replies.append(data)

    def set_title(self, param: str) -> None:
        self.titles.append(param)

    def set_icon_name(self, param: str) -> None:
        self.titles.append(param)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_attacks_become_visible_text(attack: str) -> None:
    shown = to_terminal_text(f"a{attack}z")
    assert is_safe(shown)
    screen = Recorder()
    screen.set_mode(pyte.modes.LNM)
    before = (set(screen.mode), screen.charset, screen.cursor.attrs)
    pyte.Stream(screen).feed(shown)
    assert (set(screen.mode), screen.charset, screen.cursor.attrs) == before
    assert (screen.replies, screen.titles) == ([], [])
    assert screen.display[0].startswith("a")
    assert "".join(line.rstrip() for line in screen.display).endswith("z")


def test_the_recorder_notices_real_attacks() -> None:
    screen = Recorder()
    pyte.Stream(screen).feed("\x1b]2;title\x07\x1b[6n\x1b[31m")
    assert screen.titles == ["title"]
    assert screen.replies == ["\x1b[1;1R"]
    assert screen.cursor.attrs.fg == "red"


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_cut_at_any_place_stays_harmless(attack: str) -> None:
    for cut in range(len(attack) + 1):
        assert is_safe(to_terminal_text(attack[:cut]) + to_terminal_text(attack[cut:]))


@pytest.mark.parametrize("code", INVISIBLE, ids=lambda code: f"U+{code:04X}")
def test_invisible_characters_show_their_code_point(code: int) -> None:
    assert to_terminal_text(f"a{chr(code)}b") == f"a<U+{code:04X}>b"


def test_every_format_character_that_python_knows_is_covered() -> None:
    left = {code for code in range(0x110000) if unicodedata.category(chr(code)) == "Cf"} - DRAWN_FORMAT
    assert [hex(code) for code in left if to_terminal_text(chr(code)) == chr(code)] == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "␛[2J"),
        ("\x00\x07\x7f", "␀␇␡"),
        ("\x9b\x85", "\ufffd\ufffd"),
        ("\ud800\udc00", "\ufffd\ufffd"),
        ("a\u2028b\u2029c", "a\nb\nc"),
        ("one\r\ntwo\r\n", "one\ntwo\n"),
        ("safe\rrm -rf /", "safe␍rm -rf /"),
        ("a\r\r\nb", "a␍\nb"),
        ("end\r", "end"),
        ("x = 1\f\v", "x = 1␌␋"),
    ],
)
def test_what_stands_for_a_control(text: str, shown: str) -> None:
    assert to_terminal_text(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain\ttext\nwith lines\n",
        "naïve café — “quotes” … ½ €",
        "日本語 한국어 العربية עברית हिन्दी",
        "می\u200cخواهم",
        "👩\u200d💻 ❤\ufe0f ☺\ufe0e 🇫🇷 👍🏽",
        "e\u0301 combining",
        "[bold]not markup[/bold] [@click=app.quit]x[/]",
        "\u00a0no-break\u3000wide",
    ],
)
def test_text_that_people_write_is_unchanged(text: str) -> None:
    assert to_terminal_text(text) == text


def test_a_line_stays_one_line() -> None:
    assert to_terminal_line("a\nb\tc\u2028d\x0be\x85f\rg") == "a⏎b c⏎d␋e\ufffdf␍g"


@given(st.text(st.characters(codec=None)))
def test_any_text_is_safe_and_only_safe_once(text: str) -> None:
    shown = to_terminal_text(text)
    assert is_safe(shown)
    assert to_terminal_text(shown) == shown
    line = to_terminal_line(text)
    assert is_safe(line)
    assert "\n" not in line
    assert "\t" not in line


@given(st.text(st.sampled_from("\x1b[]52;c\x07\x9b\r\nab\u202e")), st.data())
def test_chunks_show_what_the_whole_shows(text: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(text)))
    pieces = to_terminal_text(text[:cut]) + to_terminal_text(text[cut:])
    whole = to_terminal_text(text)
    assert pieces == whole or (text[cut - 1] == "\r" and pieces.replace("␍", "") == whole.replace("␍", ""))


@given(st.text(st.sampled_from("a #\n\r\x0b\x0c\x1e\x85\u2028\u2029\u202e"), max_size=30))
def test_what_is_approved_has_the_lines_that_a_shell_reads(text: str) -> None:
    shown = to_terminal_source(text)
    assert shown.count("\n") == text.count("\n")
    assert to_terminal_text(shown) == shown
    assert len(shown.splitlines()) == len(text.removesuffix("\n").split("\n")) * bool(text)
