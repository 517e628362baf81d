"""The output of `exec`: the answer, raw tokens or JSON on stdout, and short lines about progress on stderr."""

from __future__ import annotations

import json
import os
import sys
from typing import Protocol, TextIO

from gptoss_tui.agent.checklist import MARKS, PlanFollower
from gptoss_tui.agent.events import (
    AnswerCited,
    AnswerDelta,
    AnswerDone,
    ApprovalRequest,
    CompactionFinished,
    CompactionStarted,
    Event,
    Notice,
    RawTokens,
    ReasoningDelta,
    ReasoningDone,
    Recovered,
    RunawayDetected,
    ToolCall,
    ToolFinished,
    TurnFinished,
    to_dict,
)
from gptoss_tui.agent.references import References, before_first_mark, gives_page, references, replace_marks
from gptoss_tui.errors import GptOssError
from gptoss_tui.sanitize import to_terminal_line, to_terminal_source, to_terminal_text

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


class Output(Protocol):
    """A consumer of the turn's events."""

    def show(self, event: Event) -> None:
        """Print what the event reports."""
        ...

    def failed(self, error: GptOssError) -> None:
        """Called when there was no turn, or it ended without its last event. The caller prints the error itself."""
        ...


def make_output(
    *, as_json: bool, raw: bool, show_pages: bool, exact: bool = False, stops: bool = True, answer: Output | None = None
) -> Output:
    """The output that the flags ask for, on stdout and stderr; `answer` is an additional output.

    `stops` says whether an approval request ends the turn.
    """
    shown: Output = JsonOutput(sys.stdout)
    if not as_json:
        shown = TextOutput(sys.stdout, sys.stderr, raw=raw, show_pages=show_pages, exact=exact, stops=stops)
    return shown if answer is None else BothOutputs(shown, answer)


class BothOutputs:
    """Sends the events of one turn to two outputs."""

    def __init__(self, first: Output, second: Output) -> None:
        self._both = (first, second)

    def show(self, event: Event) -> None:
        for output in self._both:
            output.show(event)

    def failed(self, error: GptOssError) -> None:
        for output in self._both:
            output.failed(error)


class JsonOutput:
    """Prints one JSON event per line, as described in `docs/events.md`, and flushes after each."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, event: Event) -> None:
        print(json.dumps(to_dict(event)), file=self._out, flush=True)

    def failed(self, error: GptOssError) -> None:
        """Print a `turn_finished` event, so that a program that reads the events always finds one at the end."""
        self.show(TurnFinished(reason="failed", error=error.message, hint=error.hint or ""))


class AnswerText:
    """Formats an answer for users: citations become numbers, with a list below. `exact` leaves the answer unchanged."""

    def __init__(self, *, exact: bool = False) -> None:
        self._exact = exact
        self._answer = ""
        self._references = References()

    def follow(self, event: Event) -> None:
        """Follow the events to learn what the marks of the answer refer to."""
        match event:
            case AnswerDone():
                self._answer, self._references = event.text, References()
            case AnswerCited() if not self._exact:
                self._references = references(self._answer, event.citations)

    def ending(self, rest: str) -> str:
        """Format `rest`, which is the end of the answer or all of it, followed by the list of references."""
        shown = replace_marks(rest, self._references.labels)
        listed = "".join(f"{label} {description}\n" for label, description in self._references.entries)
        return f"{shown}\n" + (f"\n{listed}" if listed else "")


class TextOutput:
    """Text output for users and pipes.

    On a terminal the answer is streamed up to its first citation, whose label is only known at the end. Elsewhere the
    answer is written as a whole, byte for byte except for the citations, which become numbers with a list below the
    answer; `exact` leaves them unchanged. With `raw` the sampled tokens are written instead. stderr only shows the
    reasoning if it is a terminal, and the pages that the browser gives to the model only with `show_pages`. `stops`
    says whether an approval request ends the turn, in which case the result of its call is not reported.
    """

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        *,
        raw: bool = False,
        show_pages: bool = False,
        exact: bool = False,
        stops: bool = True,
    ) -> None:
        self._out = out
        self._err = err
        self._raw = raw
        self._show_pages = show_pages
        self._exact = exact
        self._stops = stops
        self._streams = out.isatty()
        self._talks = err.isatty()
        self._colour = self._talks and not os.environ.get("NO_COLOR")
        self._thinking = False
        self._answering = False
        self._held = ""
        self._text = AnswerText(exact=exact)
        self._plans = PlanFollower()
        self._unanswered = False

    def show(self, event: Event) -> None:
        self._text.follow(event)
        match event:
            case RawTokens():
                self._write(event.text)
            case ReasoningDelta() if self._talks and not self._raw:
                self._think(event.text)
            case ReasoningDone() if self._thinking:
                self._end_thinking()
            case AnswerDelta(preamble=False) if self._streams and not self._raw:
                self._stream(event.text)
            case AnswerDone() if event.preamble:
                self._say(event.text)
            case TurnFinished():
                self._finish(event)
            case _:
                self._report(event)

    def failed(self, error: GptOssError) -> None:
        """Do nothing, since the command line prints the error."""

    def _report(self, event: Event) -> None:
        match event:
            case ToolCall():
                self._report_call(event)
            case ToolFinished(status="ok") if gives_page(event.tool):
                self._report_page(event.output.strip("\n"))
            case ToolFinished() if self._plans.ends(event):
                pass
            case ToolFinished() if not self._unanswered:
                shown = [line for line in event.output.split("\n") if line][: 1 if event.status == "ok" else 3]
                self._say(f"  {event.status}: {' '.join(shown)[:300]}")
            case ApprovalRequest():
                self._say(f"? {event.title}")
                for warning in event.warnings:
                    self._say(f"  warning: {warning}")
                print(to_terminal_source(event.preview), file=self._err)
                for reason in event.reasons:
                    self._say(f"  asks because: {reason}")
                hint = "" if event.reasons else "; --approve can allow it"
                self._say(f"This needs an approval and was not done{hint}.")
                self._unanswered = self._stops
            case CompactionStarted():
                self._say("* the conversation is summed up, since the context is nearly full")
            case CompactionFinished() if event.error:
                self._say(f"  error: {event.error}")
            case Recovered() | RunawayDetected():
                self._say(f"note: {event.what}")
            case Notice():
                self._say(f"note: {event.text}")

    def _report_call(self, event: ToolCall) -> None:
        """Report a call by its summary, or a plan by its changed steps."""
        told = self._plans.told_by(event)
        if told is None:
            self._say(f"* {event.summary}")
            return
        plan, changed = told
        self._say(f"* Plan {plan.progress}" + (f": {plan.explanation}" if plan.explanation else ""))
        for step in changed:
            self._say(f"  {MARKS[step.status]} {step.text}")

    def _finish(self, event: TurnFinished) -> None:
        if self._thinking:
            self._end_thinking()
        if self._raw:
            self._write("\n")
        elif self._answering or event.answer:
            self._write(self._text.ending(self._held if self._answering else event.answer))
        if event.reason == "interrupted" and not self._unanswered:
            self._say("interrupted")
        if event.error:
            self._say(f"error: {event.error}")
        if event.hint:
            self._say(f"hint: {event.hint}")

    def _stream(self, text: str) -> None:
        self._answering = True
        self._held += text
        shown = self._held if self._exact else before_first_mark(self._held)
        self._held = self._held[len(shown) :]
        self._write(shown)

    def _report_page(self, page: str) -> None:
        count = page.count("\n") + 1
        self._say(f"  ok: {count} {'line' if count == 1 else 'lines'} for the model")
        if self._show_pages:
            print(to_terminal_text(page), file=self._err, flush=True)

    def _write(self, text: str) -> None:
        self._out.write(to_terminal_text(text) if self._streams else text)
        self._out.flush()

    def _say(self, line: str) -> None:
        if self._thinking:
            self._end_thinking()
        print(to_terminal_line(line), file=self._err, flush=True)

    def _think(self, text: str) -> None:
        if self._colour and not self._thinking:
            self._err.write(_DIM)
        self._thinking = True
        self._err.write(to_terminal_text(text))
        self._err.flush()

    def _end_thinking(self) -> None:
        self._thinking = False
        self._err.write(f"{_PLAIN}\n" if self._colour else "\n")
        self._err.flush()
