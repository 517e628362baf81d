"""Turns the agent's events into blocks of the conversation. Untrusted text is made safe for the terminal here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from gptoss_tui.sanitize import to_terminal_line as line
from gptoss_tui.sanitize import to_terminal_text as safe
from gptoss_tui.tui.blocks.base import Block, seconds, sentence
from gptoss_tui.tui.blocks.notice import NoticeBlock, NoticeKind, SummaryBlock
from gptoss_tui.tui.blocks.plan import PlanBlock
from gptoss_tui.tui.blocks.raw import RawBlock
from gptoss_tui.tui.blocks.reasoning import ReasoningBlock, Thought, plural_tokens
from gptoss_tui.tui.blocks.tool import ToolBlock
from gptoss_tui.tui.blocks.user import UserBlock
from gptoss_tui.tui.composing.requests import typed
from gptoss_tui.tui.late import late

if TYPE_CHECKING:
    from gptoss_tui.agent import checklist as plans
    from gptoss_tui.agent import events as ev
    from gptoss_tui.agent import references as refs
    from gptoss_tui.tools.base import Artefact
    from gptoss_tui.tui.blocks.answer import Answer
    from gptoss_tui.tui.blocks.welcome import WelcomeBlock
    from gptoss_tui.tui.panes.dock import PaneDock
    from gptoss_tui.tui.panes.reasoning import TurnOfThoughts
    from gptoss_tui.tui.pictures.canvas import Canvas
    from gptoss_tui.tui.widgets.transcript import Transcript
else:
    ev, refs = late("gptoss_tui.agent.events"), late("gptoss_tui.agent.references")
    plans = late("gptoss_tui.agent.checklist")

QUESTION_CHARS = 200
"""How much of a question is shown in the panes."""
WORTH_SAYING = 3.0
"""A shorter wait for the user, in seconds, is not mentioned in a turn's summary."""

_BY = {"user": "you", "policy": "the mode", "session": "a rule of this conversation", "rule": "a rule"}

_SUMMARY = "compaction"
"""The item id under which a summary streams."""


@runtime_checkable
class HasCanvas(Protocol):
    """An app that may be able to draw figures in its terminal."""

    @property
    def canvas(self) -> Canvas | None:
        """What draws the figures; None if the terminal cannot."""
        ...


class TranscriptController:
    """Keeps the blocks of the running turn by item id. Events are upserts, so an unknown id creates a block.

    With `show_pages`, pages that the browser gives to the model are open from the start.
    """

    def __init__(
        self, transcript: Transcript, dock: PaneDock, clock: Callable[[], float], *, show_pages: bool = False
    ) -> None:
        self._transcript = transcript
        self._dock = dock
        self._clock = clock
        self._show_pages = show_pages
        self._answered = ("", "")
        self._items: dict[str, Block] = {}
        self._answers: dict[str, Answer] = {}
        self._thoughts: dict[str, tuple[TurnOfThoughts, float]] = {}
        self._plans: list[PlanBlock] = []
        self._turns: dict[str, UserBlock] = {}
        self._raw: RawBlock | None = None
        self._welcome: WelcomeBlock | None = None
        self._inline = True
        self._question = ""
        self._started = 0.0
        self._generated, self._worked = 0, 0.0
        self._waited, self._asked = 0.0, 0.0
        self._running = False
        self._runaway: NoticeBlock | None = None

    def welcome(self, block: WelcomeBlock) -> None:
        """Show the empty state."""
        self._welcome = block
        self._transcript.add(block)
        self.flush()

    def clear(self) -> None:
        """Start an empty conversation."""
        self._items.clear()
        self._answers.clear()
        self._thoughts.clear()
        self._turns.clear()
        self._plans.clear()
        self._transcript.clear()
        self._dock.clear()

    def drop_from(self, turn_id: str) -> None:
        """Remove a turn and everything below it."""
        first = self._turns.get(turn_id)
        blocks = self._transcript.blocks
        if first is None or first not in blocks:
            return
        gone = blocks[blocks.index(first) :]
        self._transcript.remove_block(*gone)
        self._dock.reasoning.drop([block.thought for block in gone if isinstance(block, ReasoningBlock)])
        self._dock.tools.drop([block for block in gone if isinstance(block, ToolBlock)])
        self._dock.citations.drop([name for name, block in self._turns.items() if block in gone])
        self._turns = {name: block for name, block in self._turns.items() if block not in gone}
        self._plans = [block for block in self._plans if block not in gone]
        self._mark_plan(is_newest=True)
        self.flush()

    def notice(self, kind: NoticeKind, message: str, hint: str = "") -> None:
        """Show a message to the user in the conversation."""
        self._add(NoticeBlock(kind, safe(message), safe(hint)))
        self.flush()

    def set_inline_reasoning(self, inline: bool) -> None:
        """Set whether thoughts stream in the conversation (narrow) or in the side pane (wide)."""
        self._inline = inline
        for block in self._transcript.blocks:
            if isinstance(block, ReasoningBlock) and block.inline != inline:
                block.inline = inline
                self._transcript.touch(block)
        self.flush()

    def open_all(self, kind: type[Block], is_open: bool) -> None:
        """Open or close the details of all blocks of a kind."""
        for block in self._transcript.blocks:
            if isinstance(block, kind) and getattr(block, "is_open", is_open) != is_open and block.toggle():
                self._transcript.touch(block)
        self.flush()

    def toggle(self, block: Block) -> None:
        """Open or close the details of one block."""
        if block.toggle():
            self._transcript.touch(block)
            self.flush()

    def redraw(self, block: Block) -> None:
        """Redraw a block whose content has changed."""
        if block in self._transcript.blocks:
            self._transcript.touch(block)
            self.flush()

    def go_to(self, block: Block) -> None:
        """Open a block and scroll to it."""
        if block.reveal():
            self._transcript.touch(block)
        self._transcript.show_block(block)

    def flush(self) -> None:
        """Draw what changed."""
        self._transcript.flush()
        self._dock.flush()

    def tick(self) -> None:
        """Advance spinners and clocks of the live blocks."""
        for block in self._items.values():
            if block.live and block.tick():
                self._transcript.touch(block)
                if isinstance(block, ToolBlock):
                    self._dock.tools.touch(block)

    def apply(self, event: ev.Event) -> None:
        """Show an event."""
        match event:
            case ev.TurnStarted():
                self._begin(event)
            case ev.ReasoningDelta() | ev.ReasoningDone():
                self._reason(event)
            case ev.AnswerDelta() | ev.AnswerDone():
                self._answer(event)
            case ev.AnswerCited():
                self._cite(event)
            case ev.Recovered():
                self._add(NoticeBlock("warning", sentence(safe(event.what)), series="turn"))
            case ev.RunawayDetected():
                self._runaway = NoticeBlock("warning", safe(event.what), series="turn")
                self._add(self._runaway)
            case ev.Notice():
                self._add(NoticeBlock("warning", safe(event.text), safe(event.hint), series="turn"))
            case ev.CompactionStarted() | ev.CompactionDelta() | ev.CompactionFinished():
                self._compact(event)
            case ev.RawTokens():
                self._write_raw(safe(event.text))
            case ev.StepFinished():
                self._raw = None
                self._generated += event.generated_tokens
                self._worked += event.prefill_seconds + event.decode_seconds
            case ev.TurnFinished():
                self._end(event)
            case _:
                self._call(event)

    def _begin(self, event: ev.TurnStarted) -> None:
        self._items.clear()
        self._answers.clear()
        self._thoughts.clear()
        self._raw = None
        self._started, self._generated, self._worked = self._clock(), 0, 0.0
        self._waited, self._running = 0.0, True
        self._runaway = None
        if self._welcome is not None:
            self._transcript.remove_block(self._welcome)
            self._welcome = None
        self._question = line(typed(event.text)[:QUESTION_CHARS])
        self._dock.reasoning.begin(self._question)
        self._turns[event.turn_id] = block = UserBlock(safe(event.text))
        self._add(block)
        self._transcript.to_tail()
        self.flush()

    def end_saved(self) -> None:
        """End the replay of a saved conversation: its last turn may have been cut off, and does not continue."""
        if self._running:
            self._end(ev.TurnFinished(reason="interrupted"))

    def _end(self, event: ev.TurnFinished) -> None:
        self._running = False
        for block in self._items.values():
            self._settle(block)
        for answer in self._answers.values():
            if answer.blocks[-1].live:
                self._finish(answer, answer.text)
        took = max(self._clock() - self._started - self._waited, self._worked)  # a saved turn is replayed instantly
        elapsed = f"{seconds(took)} · {plural_tokens(self._generated)}"
        if self._waited >= WORTH_SAYING:
            elapsed += f" · waited {seconds(self._waited)} for you"
        match event.reason:
            case "failed":
                self._add(NoticeBlock("error", safe(event.error) or "The turn failed.", safe(event.hint)))
            case "limit":
                if self._runaway is not None and self._transcript.blocks[-1] is self._runaway:
                    self._transcript.remove_block(self._runaway)  # the turn's end says the same, and what to do
                self._add(NoticeBlock("warning", safe(event.error) or "The turn met its limit.", safe(event.hint)))
            case "interrupted":
                self._add(SummaryBlock(f"interrupted · {elapsed}"))
            case "done":
                self._add(SummaryBlock(elapsed))
        self.flush()

    def _settle(self, block: Block) -> None:
        """End a block that is still live when its turn ends, in case its last event never came."""
        if not block.live:
            return
        match block:
            case ReasoningBlock(thought=thought):
                thought.finish(thought.text, thought.tokens, thought.seconds)
            case ToolBlock():
                block.finish("cancelled", block.output, block.seconds)
                self._dock.tools.touch(block)
        self._transcript.touch(block)

    def _add(self, block: Block) -> None:
        self._transcript.add(block)

    def _compact(self, event: ev.CompactionStarted | ev.CompactionDelta | ev.CompactionFinished) -> None:
        """Stream a summary like an answer, between two unobtrusive rows."""
        match event:
            case ev.CompactionStarted():
                self._answers.pop(_SUMMARY, None)
                why = "the context is nearly full" if event.automatic else "asked for"
                self._add(SummaryBlock(f"summing up {plural_tokens(event.tokens)}, {why}"))
            case ev.CompactionDelta():
                self._answer(ev.AnswerDelta(item_id=_SUMMARY, text=event.text, preamble=True))
            case ev.CompactionFinished():
                if event.summary:
                    done = ev.AnswerDone(item_id=_SUMMARY, text=event.summary, tokens=0, seconds=0.0, preamble=True)
                    self._answer(done)
                if event.error:
                    self._add(NoticeBlock("warning", safe(event.error), safe(event.hint)))
                else:
                    self._add(SummaryBlock(f"the conversation goes on from here with {plural_tokens(event.tokens)}"))
        self.flush()

    def _write_raw(self, text: str) -> None:
        if self._raw is None:
            self._raw = RawBlock()
            self._add(self._raw)
        self._raw.append(text)
        self._transcript.touch(self._raw)

    def _reason(self, event: ev.ReasoningDelta | ev.ReasoningDone) -> None:
        block = self._items.get(event.item_id)
        if not isinstance(block, ReasoningBlock):
            thought = Thought()
            block = ReasoningBlock(thought, inline=self._inline)
            self._items[event.item_id] = block
            self._thoughts[event.item_id] = (self._dock.reasoning.add(thought), self._clock())
            self._add(block)
        beside, started = self._thoughts[event.item_id]
        if isinstance(event, ev.ReasoningDone):
            block.thought.finish(safe(event.text), event.tokens, event.seconds)
        else:
            block.thought.append(safe(event.text), self._clock() - started)
        self._transcript.touch(block)
        self._dock.reasoning.view.touch(beside)

    def _answer(self, event: ev.AnswerDelta | ev.AnswerDone) -> None:
        answer = self._answers.get(event.item_id)
        if answer is None:
            from gptoss_tui.tui.blocks.answer import Answer

            answer = self._answers[event.item_id] = Answer(preamble=event.preamble)
            self._add(answer.blocks[0])
        if isinstance(event, ev.AnswerDone):
            self._answered = (event.item_id, event.text)
            self._finish(answer, safe(event.text))
            return
        last = answer.blocks[-1]
        rest = answer.append(safe(event.text))
        self._transcript.touch(last)
        if rest is not None:
            self._transcript.add(rest, after=last)

    def _finish(self, answer: Answer, text: str) -> None:
        """Freeze an answer, replacing its blocks if its whole text is split differently."""
        before = answer.blocks
        after = answer.finish(text)
        if after is not before:
            self._transcript.remove_block(*before[1:])
            for last, block in pairwise(after):
                self._transcript.add(block, after=last)
            self._transcript.touch(after[0])
        self._transcript.touch(after[-1])

    def _cite(self, event: ev.AnswerCited) -> None:
        """Number the citations. Their spans refer to the sampled text, which is why that was kept."""
        answer, (item_id, text) = self._answers.get(event.item_id), self._answered
        if answer is not None and item_id == event.item_id:
            answer.cite(refs.references(text, event.citations))
            for block in answer.blocks:
                self._transcript.touch(block)
            self._dock.citations.add(event.turn_id, self._question, event.citations)

    def _tool(self, item_id: str, tool: str) -> ToolBlock:
        block = self._items.get(item_id)
        if not isinstance(block, ToolBlock):
            block = PlanBlock(tool) if tool == PlanBlock.TOOL else ToolBlock(line(tool))
            self._items[item_id] = block
            self._add(block)
        elif tool:
            block.tool = line(tool)
        self._transcript.touch(block)
        self._dock.tools.touch(block)
        return block

    def _mark_plan(self, *, is_newest: bool) -> None:
        """Open or close the latest plan."""
        if self._plans:
            self._plans[-1].is_newest = is_newest
            self._transcript.touch(self._plans[-1])

    def _call(self, event: ev.Event) -> None:
        match event:
            case ev.ToolCallDelta():
                self._tool(event.item_id, event.tool).write(safe(event.text))
            case ev.ToolCall():
                block = self._tool(event.item_id, event.tool)
                block.arguments, block.summary = safe(event.arguments), line(event.summary)
                if isinstance(block, PlanBlock):
                    block.checklist = plans.checklist_of(event)
            case ev.ApprovalRequest():
                self._asked = self._clock()
                block = self._tool(event.item_id, event.tool)
                block.state = "waiting"
                block.show_preview(event.preview, is_diff=event.preview_type == "diff")
            case ev.ApprovalResolved():
                block = self._tool(event.item_id, "")
                if block.state == "waiting":
                    self._waited += self._clock() - self._asked
                block.state = "denied" if event.decision == "deny" else "running"
                block.approval = _decided(event)
            case ev.ToolStarted():
                block = self._tool(event.item_id, event.tool)
                block.state = "running"
                if event.preview:
                    block.show_preview(event.preview, is_diff=event.preview_type == "diff")
            case ev.ToolOutputDelta():
                self._tool(event.item_id, "").add_output(safe(event.text))
            case ev.ToolFinished():
                self._end_call(event, self._tool(event.item_id, event.tool))

    def _end_call(self, event: ev.ToolFinished, block: ToolBlock) -> None:
        block.is_page = refs.gives_page(event.tool)
        block.is_open = block.is_open or (block.is_page and self._show_pages and event.status == "ok")
        block.finish(event.status, safe(event.output), event.seconds, event.exit_code)
        self._worked += event.seconds
        if isinstance(block, PlanBlock) and event.status == "ok":
            self._mark_plan(is_newest=False)
            self._plans.append(block)
            self._mark_plan(is_newest=True)
        app = self._transcript.app
        if event.artefacts and isinstance(app, HasCanvas) and (canvas := app.canvas):
            self._transcript.run_worker(self._draw(canvas, event.artefacts, block), group="pictures")

    async def _draw(self, canvas: Canvas, artefacts: Iterable[Artefact], below: Block) -> None:
        """Add the figures of a call below it, as soon as the terminal has them."""
        async for picture in canvas.draw(artefacts, self._transcript.scrollable_content_region.width):
            if below not in self._transcript.blocks:
                return
            self._transcript.add(picture, after=below)
            below = picture
            self.flush()


def _decided(event: ev.ApprovalResolved) -> str:
    """The decision about a call and who made it: `allowed by you`, `denied by a rule`."""
    what = {"deny": "denied", "edit": "changed"}.get(event.decision, "allowed")
    return f"{what} by {_BY.get(event.by, line(event.by))}"
