"""Figures in the conversation: what is sent to which terminal, and what stands for them in the rows."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rich.cells import cell_len
from textual.strip import Strip

from gptoss_tui.tools.base import Artefact
from gptoss_tui.tui.pictures import cutting, kitty, picture
from gptoss_tui.tui.pictures.block import INDENT, PictureBlock
from gptoss_tui.tui.pictures.canvas import Canvas
from gptoss_tui.tui.pictures.picture import MAX_BYTES, MAX_ROWS, WIDTH, Picture, read_picture
from gptoss_tui.tui.terminal import bands, tmux
from gptoss_tui.tui.terminal.bands import MARKS, PLACEHOLDER, Bands, run
from gptoss_tui.tui.terminal.graphics import ASK, ASK_REGISTERS, MULTIPLEXERS, Graphics, Way
from gptoss_tui.tui.terminal.input_filter import InputFilter
from tests.tui.test_slash import PALETTE

KITTY = Graphics("kitty(0.35.2)", answered=True)
ITERM2 = Graphics("iTerm2 3.5.0", sixel=True, cell=(8, 16), answered=True)
FOOT = Graphics("foot(1.16.2)", sixel=True, cell=(10, 20), colours=256, answered=True)
SIXEL = re.compile(r'\x1bP0;1;0q"1;1;(\d+);(\d+)([0-9#;!$?-~-]*)\x1b\\')
INLINE = re.compile(r"\x1b\]1337;File=inline=1;size=(\d+);width=(\d+);height=1;[a-zA-Z=;01]*:([A-Za-z0-9+/=]+)\x07")


def png(width: int, height: int, extra: int = 0) -> bytes:
    """A black picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes((width + 1) * height))) + b"x" * extra


@pytest.fixture(scope="module")
def figure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real one, of matplotlib."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(4.8, 3.6), dpi=100)
    axes = drawn.subplots()
    axes.plot([1, 4, 9, 16], color="red", linewidth=6)
    axes.fill_between([0, 3], [0, 0], [4, 4], color="blue")
    path = tmp_path_factory.mktemp("figures") / "figure-1.png"
    drawn.savefig(path)
    return path


class Drawing:
    """A canvas, what it wrote, and the rows of its blocks as the driver sends them."""

    def __init__(self, graphics: Graphics, environ: dict[str, str] | None = None, wanted: Way | None = None) -> None:
        self.written: list[str] = []
        self.bands = Bands()
        self.cell = (0, 0)
        self.canvas = Canvas(self.written.append, self.bands, lambda: self.cell, wanted, environ or {})
        self.canvas.heard(graphics)

    async def draw(self, path: Path, mime: str = "image/png", width: int = 80) -> list[PictureBlock]:
        artefact = Artefact(str(path), mime, 1)
        return [block async for block in self.canvas.draw([artefact], width)]

    def sent(self, block: PictureBlock, width: int = 80) -> list[str]:
        return [self.bands.fill(row.text) for row in block.render(width, PALETTE)]


def pixels_of(sixel: str) -> tuple[Image.Image, int]:
    """A sixel, read as the standard says, and how many of its pixels were set."""
    found = SIXEL.fullmatch(sixel)
    assert found, sixel[:80]
    width, height = int(found[1]), int(found[2])
    image, palette, x, y, colour, set_pixels = Image.new("RGB", (width, height), "green"), {}, 0, 0, -1, 0
    for token in re.finditer(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)(.)|([$-])|(.)", found[3]):
        if token[1]:
            palette[int(token[1])] = tuple(round(int(token[at]) * 2.55) for at in (2, 3, 4))
        elif token[5]:
            colour = int(token[5])
        elif token[8] == "$":
            x = 0
        elif token[8] == "-":
            x, y = 0, y + 6
        else:
            count, bits = (int(token[6]), ord(token[7]) - 63) if token[6] else (1, ord(token[9]) - 63)
            for at in (at for at in range(6) if bits >> at & 1):
                for column in range(x, x + count):
                    image.putpixel((column, y + at), palette[colour])
                    set_pixels += 1
            x += count
    return image, set_pixels


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of two images of one size, of 255."""
    pairs = zip(one.convert("RGB").tobytes(), other.convert("RGB").tobytes(), strict=True)
    return sum(abs(a - b) for a, b in pairs) / (one.width * one.height * 3)


# -- kitty -------------------------------------------------------------------------------------------------------------


async def test_kitty_is_sent_a_picture_once_and_has_placeholders_in_the_rows(tmp_path: Path) -> None:
    file = tmp_path / "figure.png"
    image = Image.frombytes("RGBA", (640, 480), random.Random(1).randbytes(640 * 480 * 4))
    chunks = PngInfo()
    chunks.add_text("comment", "a stranger's words")
    image.save(file, pnginfo=chunks, icc_profile=b"a stranger's profile")
    drawing = Drawing(KITTY)
    (block,) = await drawing.draw(file)
    assert (block.columns, block.rows) == (64, 24)
    found = [re.fullmatch(r"\x1b_G([^;]*);([A-Za-z0-9+/=]*)\x1b\\", piece) for piece in drawing.written]
    data = base64.b64decode("".join(piece[2] for piece in found if piece))
    assert Image.open(io.BytesIO(data), formats=("PNG",)).tobytes() == image.tobytes()
    assert b"stranger" in file.read_bytes()
    assert set(re.findall(rb"IHDR|IDAT|IEND|iCCP|tEXt", data)) == {b"IHDR", b"IDAT", b"IEND"}, "its pixels alone"
    heads = [piece[1] for piece in found if piece]
    number = re.fullmatch(r"a=T,U=1,f=100,q=2,i=(\d+),c=64,r=24,m=1", heads[0])
    assert number
    assert [head[-3:] for head in heads] == ["m=1"] * (len(heads) - 1) + ["m=0"]
    rows = block.render(80, PALETTE)
    assert drawing.sent(block) == [row.text for row in rows], "the rows go as they are"
    assert [cell_len(row.text) for row in rows] == [64 + INDENT] * 24
    assert len({row.text for row in rows}) == 24, "each row has its mark"
    style = list(rows[0])[1].style
    assert style is not None
    assert style.color is not None
    assert style.color.triplet is not None
    red, green, blue = style.color.triplet
    assert red << 16 | green << 8 | blue == int(number[1])
    assert [cell_len(row.text) for row in block.render(12, PALETTE)] == [12] * 24, "cut where there is no room"
    assert block.source() == str(file)


# -- bands: iTerm2 and sixel -------------------------------------------------------------------------------------------


async def test_a_figure_is_sent_to_iterm2_row_by_row(figure: Path) -> None:
    drawing = Drawing(ITERM2)
    (block,) = await drawing.draw(figure)
    pieces, sent = [], drawing.sent(block)
    assert len(sent) == block.rows
    for row in sent:
        blanks, _, rest = row.partition("\x1b7")
        assert blanks == " " * (INDENT + block.columns), "what was there is wiped out"
        found = re.fullmatch(rf"\x1b\[{block.columns}D({INLINE.pattern})\x1b8", rest)
        assert found, "painted from where the row begins, and the cursor is behind it as after text"
        assert int(found[3]) == block.columns
        data = base64.b64decode(found[4], validate=True)
        assert len(data) == int(found[2])
        pieces.append(Image.open(io.BytesIO(data), formats=("PNG",)))
    whole = Image.new("RGB", (pieces[0].width, sum(piece.height for piece in pieces)))
    for at, piece in enumerate(pieces):
        whole.paste(piece.convert("RGB"), (0, at * piece.height))
    assert difference(whole, Image.open(figure).convert("RGB").resize(whole.size, Image.Resampling.LANCZOS)) < 1.0
    assert drawing.written == []


@pytest.mark.parametrize("colours", [16, 256])
async def test_a_figure_is_sent_as_sixels_row_by_row(figure: Path, colours: int) -> None:
    drawing = Drawing(Graphics("XTerm(388)", sixel=True, cell=(7, 15), colours=colours, answered=True))
    (block,) = await drawing.draw(figure)
    sent = drawing.sent(block)
    whole = Image.new("RGB", (7 * block.columns, 15 * block.rows))
    for at, row in enumerate(sent):
        blanks, _, rest = row.partition("\x1b7")
        assert blanks == " " * (INDENT + block.columns)
        start, end = f"\x1b[{block.columns}D", "\x1b8"
        assert rest.startswith(start)
        assert rest.endswith(end)
        image, painted = pixels_of(rest[len(start) : -len(end)])
        assert image.size == (7 * block.columns, 15), "as high as a cell, so that nothing scrolls"
        assert painted == image.width * image.height, "each pixel once"
        whole.paste(image, (0, 15 * at))
    assert max(int(number) for row in sent for number in re.findall(r"#(\d+);2", row)) < colours
    wanted = Image.open(figure).convert("RGB").resize(whole.size, Image.Resampling.LANCZOS)
    assert difference(whole, wanted) < (6.0 if colours == 16 else 1.5)
    assert drawing.written == [ASK_REGISTERS]


async def test_a_row_that_is_cut_or_forgotten_is_blank(figure: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawing = Drawing(FOOT)
    (block,) = await drawing.draw(figure)
    row = block.render(80, PALETTE)[3]
    for cut in (row.crop(0, 30), row.crop(20, 67), row.crop(10, 40)):
        assert drawing.bands.fill(cut.text) == " " * cut.cell_length, "something lies over it"
    parts = [part.text for part in row.divide([0, 30, 67]) if part.cell_length]
    assert all(not part.strip() for part in map(drawing.bands.fill, parts))
    assert not drawing.sent(block, width=40)[0].strip(), "no room for all of it"
    monkeypatch.setattr(bands, "_MOST", 10)
    drawing.bands.add(3, ["abcdef", "ghijkl"])
    assert not drawing.sent(block)[3].strip(), "there is room for so many only"


def test_runs_of_any_text_become_cells_of_their_width() -> None:
    known = Bands()
    number = known.add(4, ["<one>", "<two>"])
    assert known.fill(run(number, 1, 4)) == "    \x1b7\x1b[4D<two>\x1b8"
    assert known.fill(f"a{run(number, 0, 4)}b") == "a    \x1b7\x1b[4D<one>\x1b8b"
    for text in (
        run(number + 1, 0, 4),
        run(number, 7, 4),
        run(number, 0, 3),
        PLACEHOLDER * 4,
        PLACEHOLDER + MARKS[0] * 9 + PLACEHOLDER * 3,
    ):
        filled = known.fill(text)
        assert filled == " " * cell_len(text), ascii(text)
    assert Bands().fill(PLACEHOLDER) == PLACEHOLDER, "kitty has them"
    numbers = {known.add(1, ["x"]) for _ in range(2000)}
    assert len(numbers) == 2000
    assert all(known.fill(run(at, 0, 1)).count("x") == 1 for at in numbers)


def test_a_row_is_one_strip_of_its_width_for_the_toolkit() -> None:
    strip = Strip([kitty.row(70_000, 2, 20)])
    assert strip.cell_length == 20
    assert cell_len(run(12_345, 23, 64)) == 64


# -- which terminals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replies", "way"),
    [
        ("\x1bP>|kitty(0.35.2)\x1b\\\x1b[6;18;9t\x1b[?62;c", "kitty"),
        ("\x1bP>|kitty(0.26.5)\x1b\\\x1b[6;18;9t\x1b[?62;c", "off"),
        ("\x1bP>|ghostty 1.1.3\x1b\\\x1b[6;18;9t\x1b[?62;22c", "kitty"),
        ("\x1bP>|iTerm2 3.5.4\x1b\\\x1b[6;17;8t\x1b[?64;1;2;4;6;17;18;21;22c", "iterm2"),
        ("\x1bP>|WezTerm 20240203-110809\x1b\\\x1b[?65;4;6;18;22c", "iterm2"),
        ("\x1bP>|XTerm(388)\x1b\\\x1b[6;13;6t\x1b[?63;1;2;4;6;9;15;22c", "sixel"),
        ("\x1bP>|XTerm(388)\x1b\\\x1b[6;13;6t\x1b[?64;1;2;6;9;15;18;21;22c", "off"),
        ("\x1bP>|foot(1.16.2)\x1b\\\x1b[6;20;10t\x1b[?62;4;22c", "sixel"),
        ("\x1b[6;20;10t\x1b[?61;4;6;7;14;21;22;23;24;28;32;42c", "sixel"),
        ("\x1b[?62;4;22c", "off"),
        ("\x1b[6;0;0t\x1b[?62;4c", "off"),
        ("\x1bP>|tmux 3.5a\x1b\\\x1b[6;20;10t\x1b[?1;2;4c", "off"),
        ("\x1bP>|VTE(7600)\x1b\\\x1b[?61;1;21;22c", "off"),
        ("\x1b[?1;2c", "off"),
        ("\x1b[?4;2c", "off"),
        ("", "off"),
    ],
)
def test_what_a_terminal_says_decides(replies: str, way: Way) -> None:
    said = Graphics()
    pieces, found = InputFilter().feed(replies + "x")
    assert pieces == ["x"], "no reply is a key"
    for reply in found:
        said = said.after(reply.graphics)
    assert said.answered == bool(replies)
    assert said.way({}) == way
    for between in ("TMUX", "STY", "ZELLIJ"):
        assert said.way({between: "x"}) == "off"
    assert said.way({"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1", "TERM_PROGRAM": "iTerm.app"}) == way


@pytest.mark.parametrize("reply", ["\x1b[6;99999;5t", "\x1b[6;500;500t", "\x1b[?1;3;0S", "\x1b]11;rgb:0/0/0\x07", "x"])
def test_what_is_no_answer_changes_nothing(reply: str) -> None:
    assert Graphics().after(reply) == Graphics()


async def test_a_terminal_that_cannot_or_must_not_is_sent_nothing(figure: Path) -> None:
    dumb = Graphics("VTE(7600)", cell=(9, 18), answered=True)
    for drawing in (Drawing(dumb), Drawing(KITTY, wanted="off"), Drawing(FOOT, {"TMUX": "/nowhere,1,0"})):
        assert await drawing.draw(figure) == []
        assert drawing.written == []


async def test_a_way_that_a_person_chose_is_taken(figure: Path) -> None:
    drawing = Drawing(Graphics("mystery 1.0", answered=True), wanted="iterm2")
    (block,) = await drawing.draw(figure)
    assert INLINE.search(drawing.sent(block)[0])
    assert await Drawing(Graphics(answered=True), wanted="sixel").draw(figure) == [], "without the size of a cell"


async def test_a_narrow_conversation_has_a_small_picture(figure: Path) -> None:
    drawing = Drawing(FOOT)
    (block,) = await drawing.draw(figure, width=40)
    assert (block.columns, block.rows) == (40 - INDENT, 14)
    assert all(SIXEL.search(row) for row in drawing.sent(block, width=40))


async def test_cells_of_another_size_have_other_bands(figure: Path) -> None:
    drawing = Drawing(Graphics("XTerm(379)", sixel=True, colours=1024, answered=True))
    drawing.cell = (8, 17)
    (block,) = await drawing.draw(figure)
    sizes = [SIXEL.search(row) for row in drawing.sent(block)]
    assert {size and size.group(1, 2) for size in sizes} == {(str(8 * block.columns), "17")}
    assert not await drawing.canvas.resized(), "only the window is larger"
    drawing.cell = (12, 25)
    assert await drawing.canvas.resized()
    sizes = [SIXEL.search(row) for row in drawing.sent(block)]
    assert {size and size.group(1, 2) for size in sizes} == {(str(12 * block.columns), "25")}


async def test_the_answer_is_waited_for(figure: Path) -> None:
    drawing = Drawing(Graphics())
    drawn = asyncio.create_task(drawing.draw(figure))
    await asyncio.sleep(0)
    drawing.canvas.heard(KITTY)
    assert len(await drawn) == 1


# -- pictures ----------------------------------------------------------------------------------------------------------


async def test_what_is_no_picture_is_not_sent(tmp_path: Path) -> None:
    file = tmp_path / "figure.png"
    huge = png(8, 8).replace(struct.pack(">II", 8, 8), struct.pack(">II", 60_000, 60_000))
    for data in (b"", b"\x89PNG\r\n\x1a\n", b"\x1b]52;c;x\x07", png(0, 10), huge, png(10, 10, extra=MAX_BYTES)):
        file.write_bytes(data)
        drawing = Drawing(KITTY)
        assert await drawing.draw(file) == []
        assert drawing.written == []
    file.write_bytes(png(10, 10))
    assert await Drawing(KITTY).draw(file, mime="text/plain") == []
    link = tmp_path / "link.png"
    link.symlink_to(file)
    assert await Drawing(KITTY).draw(link) == []
    assert read_picture(str(tmp_path)) is None
    assert read_picture(str(tmp_path / "none")) is None


@pytest.mark.parametrize("damage", [60, 200])
@pytest.mark.parametrize("terminal", [FOOT, KITTY])
async def test_a_damaged_picture_is_not_drawn(tmp_path: Path, damage: int, terminal: Graphics) -> None:
    file = tmp_path / "figure.png"
    file.write_bytes(png(64, 64)[: -damage if damage < 100 else 40])
    drawing = Drawing(terminal)
    assert await drawing.draw(file) == []
    assert not any("\x1b_G" in piece for piece in drawing.written)


@pytest.mark.parametrize(
    "answer",
    [
        "[]",
        "{}",
        "null",
        '["\\u001b]52;c;x\\u0007"]',
        '["\\"1;1;8;16\\u001b"]',
        '["\\"1;1;8;16#0;2;0;0;0#0~\\n"]',
        "[1]",
    ],
)
async def test_only_a_sixel_s_own_characters_are_believed(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(request: bytes, data: bytes) -> bytes:
        return answer.encode()

    monkeypatch.setattr(cutting, "_ask", ask)
    assert await cutting.cut(Picture(b"", 8, 16), "sixel", FOOT, 1, 1) is None
    assert await cutting.cut(Picture(b"", 8, 16), "iterm2", ITERM2, 1, 1) is None


@pytest.mark.parametrize(("size", "cells"), [((8, 16), (1, 1)), ((2000, 100), (64, 2)), ((100, 4000), (1, 24))])
def test_a_picture_keeps_its_proportions_within_bounds(size: tuple[int, int], cells: tuple[int, int]) -> None:
    assert Picture(b"", *size).cells(WIDTH) == cells


def test_the_shape_of_a_cell_counts() -> None:
    assert Picture(b"", 400, 400).cells(WIDTH, (10, 20))[1] == picture.Picture(b"", 400, 400).cells(WIDTH)[1]
    assert Picture(b"", 400, 100).cells(WIDTH, (10, 10)) == (50, 12)
    assert Picture(b"", 400, 400).cells(WIDTH, (10, 10)) == (24, MAX_ROWS)


# -- the program in a terminal -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replies", "form"),
    [
        ("\x1bP>|foot(1.16.2)\x1b\\\x1b[6;20;10t\x1b[?62;4;22c", SIXEL),
        ("\x1bP>|iTerm2 3.5.4\x1b\\\x1b[6;17;8t\x1b[?64;1;2;4;22c", INLINE),
        ("\x1bP>|VTE(7600)\x1b\\\x1b[?61;1;21;22c", None),
    ],
)
def test_what_the_program_sends_to_a_terminal(figure: Path, replies: str, form: re.Pattern[str] | None) -> None:
    environ = {name: value for name, value in os.environ.items() if name not in MULTIPLEXERS}
    child = pexpect.spawn(
        sys.executable,
        ["-m", "tests.tui.picture_app", str(figure)],
        dimensions=(30, 90),
        env={**environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
        cwd=str(Path(__file__).parents[2]),
        timeout=60,
        encoding="utf-8",
        use_poll=True,
    )
    child.expect_exact(ASK)
    child.send(replies)
    if form is SIXEL:
        child.expect_exact(ASK_REGISTERS)
        child.send("\x1b[?1;0;256S")
    child.expect(pexpect.EOF)
    child.close()
    output: str = child.before
    assert child.exitstatus == (11 if form else 10)
    drawn = form.findall(output) if form else []
    assert len(drawn) >= (5 if form else 0)
    rest = form.sub("", output) if form else output
    assert not SIXEL.search(rest)
    assert not INLINE.search(rest)
    assert PLACEHOLDER not in output
    assert "\x1b_G" not in output
    assert str(figure) in re.sub(r"\x1b\[[0-9;:]*m|\s", "", output), "the path is there in any case"


# -- tmux --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tmux_pane(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A real tmux with a client in a pseudo-terminal, and the environment of a program in it."""
    if shutil.which("tmux") is None or shutil.which("script") is None:
        pytest.skip("there is no tmux")
    socket = str(tmp_path / "s")
    plain = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    start = ["tmux", "-S", socket, "-f", "/dev/null", "new-session", "-x80", "-y24", "sleep 600"]
    client = subprocess.Popen(
        ["script", "-qfec", " ".join(f"'{word}'" for word in start), "/dev/null"],
        env=plain,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    ask = ["tmux", "-S", socket, "display-message", "-p", "#{pane_id}|#{session_attached}"]
    while (found := subprocess.run(ask, env=plain, capture_output=True, text=True, check=False).stdout.strip()) == "":
        assert client.poll() is None
    yield {**plain, "TMUX": f"{socket},1,0", "TMUX_PANE": found.split("|")[0]}
    subprocess.run(["tmux", "-S", socket, "kill-server"], env=plain, check=False, capture_output=True)
    client.communicate()


async def test_tmux_passes_pictures_on_only_where_it_may_and_the_terminal_draws(
    tmux_pane: dict[str, str], figure: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tell(*words: str) -> None:
        subprocess.run(["tmux", "-S", tmux_pane["TMUX"].split(",")[0], *words], check=True, env=tmux_pane)

    monkeypatch.setattr(tmux, "_CLIENT", "RGB,title|kitty(0.35.2)")
    assert not await tmux.passes_pictures(tmux_pane), "not allowed"
    tell("set-option", "-g", "allow-passthrough", "on")
    assert await tmux.passes_pictures(tmux_pane)
    drawing = Drawing(Graphics("tmux 3.3a", answered=True), tmux_pane)
    (block,) = await drawing.draw(figure)
    assert drawing.written
    assert all(
        piece.startswith("\x1bPtmux;\x1b\x1b_G") and piece.endswith("\x1b\x1b\\\x1b\\") for piece in drawing.written
    )
    assert drawing.sent(block)[0].count(PLACEHOLDER) == block.columns
    monkeypatch.undo()
    assert not await tmux.passes_pictures(tmux_pane), "the client is a plain pseudo-terminal"
    for clients in ("title|kitty(0.35.2)", "RGB|kitty(0.26.1)", "RGB|XTerm(388)", "RGB|"):
        monkeypatch.setattr(tmux, "_CLIENT", clients)
        assert not await tmux.passes_pictures(tmux_pane), clients
    monkeypatch.setattr(tmux, "_CLIENT", "RGB|ghostty 1.1")
    tell("set-option", "-p", "-t", tmux_pane["TMUX_PANE"], "allow-passthrough", "off")
    assert not await tmux.passes_pictures(tmux_pane), "the pane's own word counts"


async def test_without_a_tmux_that_answers_nothing_is_passed_on(tmp_path: Path) -> None:
    assert not await tmux.passes_pictures({})
    assert not await tmux.passes_pictures({"TMUX": f"{tmp_path}/none,1,0", "TMUX_PANE": "%0"})
