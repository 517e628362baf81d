"""Figures in the conversation: what is sent to a terminal that draws pictures, and what stands for them in the rows."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from pathlib import Path

import pytest
from rich.cells import cell_len

from gptoss_tui.tools.base import Artefact
from gptoss_tui.tui import images
from tests.tui.test_slash import PALETTE

KITTY = {"TERM": "xterm-kitty"}


def png(width: int, height: int, extra: int = 0) -> bytes:
    """A black picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes((width + 1) * height))) + b"x" * extra


class Terminal:
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write_to_terminal(self, text: str) -> None:
        self.written.append(text)


def shown(path: Path, environ: dict[str, str], mime: str = "image/png") -> tuple[list[images.PictureBlock], list[str]]:
    terminal = Terminal()
    artefact = Artefact(str(path), mime, path.stat().st_size)
    return list(images.pictures([artefact], terminal, environ)), terminal.written


def test_a_picture_is_sent_once_and_stands_in_the_rows(tmp_path: Path) -> None:
    file = tmp_path / "figure.png"
    file.write_bytes(png(640, 480, extra=9000))
    (block,), written = shown(file, KITTY)
    assert (block.columns, block.rows) == (64, 24)
    found = [re.fullmatch(r"\x1b_G([^;]*);([A-Za-z0-9+/=]*)\x1b\\", piece) for piece in written]
    assert base64.b64decode("".join(piece[2] for piece in found if piece)) == file.read_bytes()
    heads = [piece[1] for piece in found if piece]
    assert heads[0].startswith(f"a=T,U=1,f=100,q=2,i={block.picture.number},c=64,r=24,m=1")
    assert [head[-3:] for head in heads] == ["m=1"] * (len(heads) - 1) + ["m=0"]


def test_rows_name_the_picture_and_their_place(tmp_path: Path) -> None:
    file = tmp_path / "figure.png"
    file.write_bytes(png(160, 80))
    (block,), _ = shown(file, KITTY)
    assert (block.columns, block.rows) == (20, 5)
    rows = block.render(80, PALETTE)
    assert [cell_len(row.text) for row in rows] == [20 + images.INDENT] * 5
    assert len({row.text for row in rows}) == 5, "each row has its mark"
    style = list(rows[0])[1].style
    assert style is not None
    assert style.color is not None
    assert style.color.triplet is not None
    red, green, blue = style.color.triplet
    assert red << 16 | green << 8 | blue == block.picture.number
    assert [cell_len(row.text) for row in block.render(12, PALETTE)] == [12] * 5, "cut where there is no room"
    assert block.source() == str(file)


@pytest.mark.parametrize(
    "environ",
    [{"TERM": "xterm-256color"}, {**KITTY, "TMUX": "/tmp/x"}, {}, {"KITTY_WINDOW_ID": "1", "STY": "x"}],
)
def test_other_terminals_are_sent_nothing(tmp_path: Path, environ: dict[str, str]) -> None:
    file = tmp_path / "figure.png"
    file.write_bytes(png(10, 10))
    assert shown(file, environ) == ([], [])


def test_what_is_no_picture_is_not_sent(tmp_path: Path) -> None:
    file = tmp_path / "figure.png"
    for data in (b"", b"\x89PNG\r\n\x1a\n", b"\x1b]52;c;x\x07", png(0, 10), png(10, 10, extra=images.MAX_BYTES)):
        file.write_bytes(data)
        assert shown(file, KITTY) == ([], [])
    file.write_bytes(png(10, 10))
    assert shown(file, KITTY, mime="text/plain") == ([], [])
    link = tmp_path / "link.png"
    link.symlink_to(file)
    assert shown(link, KITTY) == ([], [])
    assert images.read_picture(str(tmp_path), 1) is None
    assert images.read_picture(str(tmp_path / "none"), 1) is None


@pytest.mark.parametrize(("size", "cells"), [((8, 16), (1, 1)), ((2000, 100), (64, 2)), ((100, 4000), (1, 24))])
def test_a_picture_keeps_its_proportions_within_bounds(size: tuple[int, int], cells: tuple[int, int]) -> None:
    assert images.Picture(b"", *size, 1).cells(images.WIDTH) == cells
