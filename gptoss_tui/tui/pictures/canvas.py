"""Figures on their way to the terminal: how it draws them, and the blocks that stand for them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from rich.segment import Segment

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.pictures import kitty
from gptoss_tui.tui.pictures.block import PictureBlock
from gptoss_tui.tui.pictures.cutting import cut
from gptoss_tui.tui.pictures.picture import WIDTH, Picture, read_picture
from gptoss_tui.tui.terminal.bands import Bands, run
from gptoss_tui.tui.terminal.graphics import ASK_REGISTERS, Graphics, Way
from gptoss_tui.tui.terminal.tmux import passes_pictures, wrapped

if TYPE_CHECKING:
    from gptoss_tui.tools.base import Artefact

_ANSWER_SECONDS: Final = 1.0


class Canvas:
    """Draws on the terminal that `write` writes to. `bands` are those of its driver.

    `wanted` is the way that a person chose, None to ask the terminal.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        bands: Bands,
        wanted: Way | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._write, self._bands, self._wanted, self._environ = write, bands, wanted, environ
        self._graphics = Graphics()
        self._answered = asyncio.Event()
        self._counted = asyncio.Event()
        self._turn = asyncio.Lock()
        self._way: Way | None = None
        self._tmux = False

    def heard(self, graphics: Graphics) -> None:
        """The terminal said something about what it can draw."""
        self._graphics = graphics
        if graphics.answered:
            self._answered.set()
        if graphics.colours:
            self._counted.set()

    async def draw(self, artefacts: Iterable[Artefact]) -> AsyncIterator[PictureBlock]:
        """Blocks for those files that are pictures; none where the terminal draws none. One figure at a time."""
        for artefact in artefacts:
            if artefact.mime != "image/png":
                continue
            async with self._turn:
                self._way = way = self._way or await self._find_way()
                picture = await asyncio.to_thread(read_picture, artefact.path) if way != "off" else None
                block = await self._block(picture, way, to_terminal_line(artefact.path)) if picture else None
            if block is not None:
                yield block

    async def _find_way(self) -> Way:
        if self._wanted == "off":
            return "off"
        await _soon(self._answered)
        if self._environ.get("TMUX"):
            self._tmux = await passes_pictures(self._environ)
            return "kitty" if self._tmux else "off"
        way = self._graphics.way(self._environ) if self._wanted is None else self._wanted
        if way == "sixel":
            if not all(self._graphics.cell):
                return "off"
            self._write(ASK_REGISTERS)
            await _soon(self._counted)
        return way

    async def _block(self, picture: Picture, way: Way, path: str) -> PictureBlock | None:
        columns, rows = picture.cells(WIDTH, self._graphics.cell)
        if way == "kitty":
            number = kitty.next_number()
            for piece in kitty.transmission(picture.data, number, columns, rows):
                self._write(wrapped(piece) if self._tmux else piece)
            return PictureBlock(partial(kitty.row, number), columns, rows, path)
        bands = await cut(picture, way, self._graphics, columns, rows)
        if bands is None:
            return None
        number = self._bands.add(columns, bands)
        return PictureBlock(lambda at, width: Segment(run(number, at, width)), columns, rows, path)


async def _soon(event: asyncio.Event) -> None:
    """Wait for an answer that may never come."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await event.wait()
    except TimeoutError:
        pass
