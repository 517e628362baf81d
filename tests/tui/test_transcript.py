"""The transcript widget: only what is visible is drawn, the rest is kept, dropped and drawn again."""

from __future__ import annotations

from textual.app import App, ComposeResult
from textual.geometry import Offset, Region
from textual.selection import Selection
from textual.strip import Strip

from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import Block
from gptoss_tui.tui.blocks.user import UserBlock
from gptoss_tui.tui.flow import KEPT_ROWS, Flow
from gptoss_tui.tui.theme import DARK, Palette
from gptoss_tui.tui.widgets.transcript import Transcript

PALETTE = Palette.from_variables(DARK.to_color_system().generate(), dark=True)


class Paragraph(Block):
    """Words that wrap; counts how often it is drawn."""

    def __init__(self, name: str, words: int = 1) -> None:
        self.name = name
        self.words = words
        self.drawn = 0

    def render(self, width: int, palette: Palette) -> list[Strip]:
        self.drawn += 1
        return lines.rows(lines.wrap(lines.text(f"{self.name} " * self.words, palette.text), width), width)


class Step(Paragraph):
    """A step on the way, that is closed as long as it is one word."""

    is_step = True

    @property
    def is_row(self) -> bool:
        return self.words == 1


class Host(App[None]):
    def compose(self) -> ComposeResult:
        yield Transcript(id="t")

    def on_mount(self) -> None:
        self.view.set_palette(PALETTE)

    @property
    def view(self) -> Transcript:
        return self.query_one(Transcript)


def shown(view: Transcript) -> list[str]:
    return [view.render_line(y).text.rstrip() for y in range(view.size.height)]


async def test_closed_steps_stand_close_and_what_is_open_apart() -> None:
    app = Host()
    async with app.run_test(size=(20, 12)) as pilot:
        steps = [Step(f"s{n}") for n in range(3)]
        for block in (Paragraph("before"), *steps, Paragraph("after")):
            app.view.add(block)
            app.view.flush()
        await pilot.pause()
        assert shown(app.view)[:7] == ["before", "", "s0", "s1", "s2", "", "after"]
        steps[1].words = 2  # as high as before, and yet apart from what is below it
        app.view.touch(steps[1])
        app.view.flush()
        await pilot.pause()
        assert shown(app.view)[:8] == ["before", "", "s0", "s1 s1", "", "s2", "", "after"]
        painted = [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]
        assert painted[:8] == shown(app.view)[:8], "what moved is painted"
        app.view.remove_block(steps[1])
        assert shown(app.view)[:6] == ["before", "", "s0", "s2", "", "after"]


async def test_a_change_draws_one_block_and_no_other() -> None:
    app = Host()
    async with app.run_test(size=(40, 10)) as pilot:
        blocks = [Paragraph(f"b{n}") for n in range(50)]
        for block in blocks:
            app.view.add(block)
        app.view.flush()
        await pilot.pause()
        before = [block.drawn for block in blocks]
        blocks[-1].words = 2
        app.view.touch(blocks[-1])
        app.view.flush()
        assert [block.drawn for block in blocks[:-1]] == before[:-1]
        assert blocks[-1].drawn == before[-1] + 1
        app.view.flush()
        assert blocks[-1].drawn == before[-1] + 1, "nothing was touched"


def test_painting_before_a_flush_takes_no_block_away_from_it() -> None:
    flow = Flow()
    flow.restyle(40, PALETTE)
    first, second = UserBlock("one"), UserBlock("two")
    flow.insert(first)
    flow.draw(0)
    flow.measure(0)
    flow.insert(second)
    assert flow.row(flow.height) is None, "the row below all others is nobody's yet"
    assert second in flow.dirty

    flow.draw(1)
    flow.measure(1)
    flow._release(flow.entries[1])
    flow.touch(second)
    assert flow.row(flow.top(1)) is not None
    assert second in flow.dirty, "its new height is still to be found"


async def test_growing_content_needs_no_layout() -> None:
    app = Host()
    async with app.run_test(size=(40, 10)) as pilot:
        for n in range(30):
            app.view.add(Paragraph(f"b{n}"))
        app.view.flush()
        await pilot.pause()
        layouts: list[int] = []
        original = app.screen._refresh_layout
        app.screen._refresh_layout = lambda *a, **k: (layouts.append(1), original(*a, **k))[1]  # type: ignore[method-assign]
        for n in range(20):
            app.view.add(Paragraph(f"c{n}"))
            app.view.flush()
            await pilot.pause()
        assert layouts == []
        assert "c19" in shown(app.view)


async def test_resizing_draws_the_visible_first_and_then_everything() -> None:
    app = Host()
    async with app.run_test(size=(60, 10)) as pilot:
        blocks = [Paragraph(f"block{n}", words=12) for n in range(200)]
        for block in blocks:
            app.view.add(block)
        app.view.flush()
        await pilot.pause()
        tall = app.view.virtual_size.height
        await pilot.resize_terminal(30, 10)
        assert "block199" in " ".join(shown(app.view))
        for _ in range(100):
            await pilot.pause(0.01)
            if app.view.is_settled:
                break
        assert app.view.virtual_size.height == sum(len(b.render(29, PALETTE)) + 1 for b in blocks)
        assert app.view.virtual_size.height > tall
        assert app.view.scroll_offset.y == app.view.max_scroll_y


async def test_what_is_read_stays_in_place_when_blocks_above_change_height() -> None:
    app = Host()
    async with app.run_test(size=(40, 10)) as pilot:
        blocks = [Paragraph(f"b{n}") for n in range(60)]
        for block in blocks:
            app.view.add(block)
        app.view.flush()
        await pilot.pause()
        app.view.scroll_to(y=60, animate=False)
        await pilot.pause()
        top = shown(app.view)[0]
        blocks[2].words = 60
        app.view.touch(blocks[2])
        app.view.flush()
        assert shown(app.view)[0] == top


async def test_rows_far_from_the_view_are_dropped_and_come_back() -> None:
    app = Host()
    async with app.run_test(size=(40, 10)) as pilot:
        blocks = [Paragraph(f"b{n}", words=40) for n in range(KEPT_ROWS)]
        for block in blocks:
            app.view.add(block)
        app.view.flush()
        assert app.view.drawn_rows <= KEPT_ROWS
        await pilot.resize_terminal(41, 10)
        for _ in range(400):
            await pilot.pause(0.01)
            if app.view.is_settled:
                break
        assert app.view.drawn_rows <= KEPT_ROWS
        app.view.scroll_home(animate=False)
        await pilot.pause()
        assert shown(app.view)[0].startswith("b0 b0")


async def test_a_frame_paints_again_what_it_painted_before() -> None:
    app = Host()
    async with app.run_test(size=(40, 10)) as pilot:
        for n in range(30):
            app.view.add(Paragraph(f"b{n}"))
        app.view.flush()
        await pilot.pause()
        region = Region(0, 0, app.view.size.width, 10)
        before = app.view.render_lines(region)
        app.view.add(Paragraph("new"))
        app.view.flush()
        after = app.view.render_lines(region)
        assert [id(strip) for strip in before[2::2]] == [id(strip) for strip in after[:-2:2]]
        assert before[2].text.rstrip() == after[0].text.rstrip() != ""


async def test_rows_that_come_while_the_person_reads_are_counted() -> None:
    app = Host()
    async with app.run_test(size=(40, 10)) as pilot:
        for n in range(30):
            app.view.add(Paragraph(f"b{n}"))
        app.view.flush()
        await pilot.pause()
        app.view.scroll_to(y=10, animate=False)
        await pilot.pause()
        bottom = Region(0, 9, app.view.size.width, 1)
        top = shown(app.view)[0]
        assert "new" not in app.view.render_lines(bottom)[0].text
        app.view.add(Paragraph("late"))
        app.view.flush()
        assert "↓ 2 new rows" in app.view.render_lines(bottom)[0].text
        assert shown(app.view)[0] == top
        await pilot.click(Transcript, offset=(20, 9))
        assert app.view.following
        assert "new" not in app.view.render_lines(bottom)[0].text
        assert "late" in shown(app.view)


async def test_removing_and_clearing() -> None:
    app = Host()
    async with app.run_test(size=(40, 10)):
        first, second = Paragraph("first"), Paragraph("second")
        app.view.add(first)
        app.view.add(second)
        app.view.flush()
        app.view.remove_block(first)
        assert shown(app.view)[0] == "second"
        app.view.clear()
        assert app.view.virtual_size.height == 0
        app.view.touch(second)
        app.view.flush()
        assert shown(app.view)[0] == ""


async def test_selected_text_is_what_stands_on_the_rows() -> None:
    app = Host()
    async with app.run_test(size=(40, 10)):
        for name in ("alpha", "beta", "gamma"):
            app.view.add(Paragraph(name))
        app.view.flush()
        selected = app.view.get_selection(Selection(Offset(2, 0), Offset(2, 4)))
        assert selected == ("pha\n\nbeta\n\nga", "\n")
        assert app.view.get_selection(Selection(None, None)) == ("alpha\n\nbeta\n\ngamma\n", "\n")


async def test_a_copy_has_the_lines_of_the_text_and_no_decoration() -> None:
    app = Host()
    async with app.run_test(size=(24, 10)):
        app.view.add(UserBlock("please change the greeting that the program prints\nand its test"))
        app.view.flush()
        assert len(shown(app.view)[0]) <= 24
        selected = app.view.get_selection(Selection(None, None))
        assert selected == ("please change the greeting that the program prints\nand its test\n", "\n")


async def test_selection_is_marked() -> None:
    app = Host()
    async with app.run_test(size=(40, 10)) as pilot:
        app.view.add(Paragraph("漢字 alpha"))
        app.view.flush()
        await pilot.pause()
        app.screen.selections = {app.view: Selection(Offset(0, 0), Offset(2, 0))}
        strip = app.view.render_line(0)
        assert strip.text.rstrip() == "漢字 alpha"
        assert next(iter(strip)).text == "漢字"
