"""Sending figures to the terminal, in the way that it supports, and creating the blocks that stand for them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from rich.segment import Segment

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.pictures import kitty
from gptoss_tui.tui.pictures.block import INDENT, PictureBlock
from gptoss_tui.tui.pictures.cutting import anew, cut
from gptoss_tui.tui.pictures.picture import WIDTH, Picture, read_picture
from gptoss_tui.tui.terminal.bands import Bands, run
from gptoss_tui.tui.terminal.graphics import ASK_REGISTERS, Graphics, Way
from gptoss_tui.tui.terminal.tmux import passes_pictures, wrapped

if TYPE_CHECKING:
    from gptoss_tui.tools.base import Artefact

_ANSWER_SECONDS: Final = 1.0


class Canvas:
    """Draws on the terminal that `write` writes to. `bands` are those of its driver.

    `measure` returns the width and height of a cell in pixels according to the system, (0, 0) if unknown.
    `wanted` is the way that the user chose, None to ask the terminal.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        bands: Bands,
        measure: Callable[[], tuple[int, int]],
        wanted: Way | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._write, self._bands, self._measure = write, bands, measure
        self._wanted, self._environ = wanted, environ
        self._graphics = Graphics()
        self._answered = asyncio.Event()
        self._counted = asyncio.Event()
        self._turn = asyncio.Lock()
        self._way: Way | None = None
        self._tmux = False
        self._cell = (0, 0)
        self._sixels: dict[int, tuple[int, int, str]] = {}

    def heard(self, graphics: Graphics) -> None:
        """Take in what the terminal reported about its graphics."""
        self._graphics = graphics
        if graphics.answered:
            self._answered.set()
        if graphics.colours:
            self._counted.set()

    async def draw(self, artefacts: Iterable[Artefact], width: int) -> AsyncIterator[PictureBlock]:
        """Yield blocks for those files that are pictures, fitted to `width` columns, one figure at a time.

        Yields nothing if the terminal cannot draw.
        """
        room = max(1, min(WIDTH, width - INDENT))
        for artefact in artefacts:
            if artefact.mime != "image/png":
                continue
            async with self._turn:
                self._way = way = self._way or await self._find_way()
                picture = await asyncio.to_thread(read_picture, artefact.path) if way != "off" else None
                block = await self._block(picture, way, artefact.path, room) if picture else None
            if block is not None:
                yield block

    async def resized(self) -> bool:
        """Recut sixels if a resize of the window changed the size of its cells. Returns whether it did."""
        cell = self._measure()
        if self._way != "sixel" or not all(cell) or cell == self._cell:
            return False
        async with self._turn:
            self._cell = cell
            for number, (columns, rows, path) in self._sixels.items():
                picture = await asyncio.to_thread(read_picture, path)
                bands = await cut(picture, "sixel", self._known, columns, rows) if picture else None
                self._bands.put(number, columns, bands or ())
        return True

    @property
    def _known(self) -> Graphics:
        return replace(self._graphics, cell=self._cell)

    async def _find_way(self) -> Way:
        if self._wanted == "off":
            return "off"
        await _soon(self._answered)
        if self._environ.get("TMUX"):
            self._tmux = await passes_pictures(self._environ)
            return "kitty" if self._tmux else "off"
        measured = self._measure()  # xterm does not tell programs that ask, but the system knows
        self._cell = measured if all(measured) else self._graphics.cell
        way = self._known.way(self._environ) if self._wanted is None else self._wanted
        if way == "sixel":
            if not all(self._cell):
                return "off"
            self._write(ASK_REGISTERS)
            await _soon(self._counted)
        return way

    async def _block(self, picture: Picture, way: Way, path: str, room: int) -> PictureBlock | None:
        columns, rows = picture.cells(room, self._cell)
        if way == "kitty":
            data = await anew(picture, columns, rows)
            if data is None:
                return None
            number = kitty.next_number()
            for piece in kitty.transmission(data, number, columns, rows):
                self._write(wrapped(piece) if self._tmux else piece)
            return PictureBlock(partial(kitty.row, number), columns, rows, to_terminal_line(path))
        bands = await cut(picture, way, self._known, columns, rows)
        if bands is None:
            return None
        number = self._bands.add(columns, bands)
        if way == "sixel":
            self._sixels[number] = columns, rows, path
        return PictureBlock(lambda at, width: Segment(run(number, at, width)), columns, rows, to_terminal_line(path))


async def _soon(event: asyncio.Event) -> None:
    """Wait up to _ANSWER_SECONDS for an answer that may never come."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await event.wait()
    except TimeoutError:
        pass
