"""Exports the conversation as Markdown, JSON (the events, as documented in `docs/events.md`) or one HTML page.

Text from models, tools and files is data here, too: fences are longer than any in the text, and all HTML is escaped, so
that nothing in a conversation can end its block or run in the reader's browser.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from gptoss_tui.agent import events as ev
from gptoss_tui.agent.references import references, replace_marks
from gptoss_tui.sanitize import fenced, to_terminal_line, to_terminal_text
from gptoss_tui.tui.blocks.base import seconds
from gptoss_tui.tui.composing.message import split_message

FORMATS = {
    "markdown": "to read anywhere",
    "json": "every event, for programs",
    "html": "one page with folded reasoning and tools",
}

Kind = Literal["user", "reasoning", "answer", "tool", "note"]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the conversation for readers. `body` is Markdown in an answer, else plain text."""

    kind: Kind
    title: str
    body: str


def export(events: Sequence[ev.Event], format_name: str, title: str) -> str:
    """Convert the events to a document. `format_name` is a key of FORMATS."""
    writers: dict[str, Callable[[Sequence[ev.Event], str], str]] = {
        "markdown": to_markdown,
        "json": to_json,
        "html": to_html,
    }
    return writers[format_name](events, title)


def parts(events: Sequence[ev.Event]) -> Iterator[Part]:
    """Reduce the events to the parts that a reader wants, in order."""
    calls: dict[str, ev.ToolCall] = {}
    cited = {(event.turn_id, event.item_id): event for event in events if isinstance(event, ev.AnswerCited)}
    for event in events:
        match event:
            case ev.TurnStarted() | ev.Steered():
                typed, attached = split_message(event.text)
                notes = "".join(f"\n(with {line})" for line in attached)
                yield Part("user", "You", typed + notes)
            case ev.ReasoningDone():
                yield Part("reasoning", f"Thought for {seconds(event.seconds)}, {event.tokens} tokens", event.text)
            case ev.AnswerDone():
                found = cited.get((event.turn_id, event.item_id))
                yield Part("answer", "Model", _with_sources(event.text, found))
            case ev.ToolCall():
                calls[event.item_id] = event
            case ev.ToolFinished():
                call = calls.get(event.item_id)
                yield Part("tool", _tool_title(event, call), _tool_body(event, call))
            case ev.CompactionFinished() if event.summary:
                yield Part("note", "The conversation was summed up", event.summary)
            case ev.TurnFinished() if event.reason != "done":
                yield Part("note", f"The turn ended: {event.reason}", event.error)
            case _:
                pass


def to_markdown(events: Sequence[ev.Event], title: str) -> str:
    """Convert to Markdown: headings for messages, quotes for reasoning, fences for tools."""
    out = [f"# {_one_line(title)}"]
    for part in parts(events):
        match part.kind:
            case "user" | "answer":
                out.append(f"## {part.title}\n\n{part.body.strip()}")
            case "reasoning":
                quoted = "\n".join(f"> {line}".rstrip() for line in part.body.strip().split("\n"))
                out.append(f"> **{part.title}**\n>\n{quoted}")
            case _:
                out.append(f"**{_one_line(part.title)}**\n\n{fenced(part.body)}" if part.body else f"**{part.title}**")
    return "\n\n".join(out) + "\n"


def to_json(events: Sequence[ev.Event], title: str) -> str:
    """Convert to one JSON object with the title and the events."""
    return json.dumps({"title": title, "events": [ev.to_dict(event) for event in events]}, indent=2) + "\n"


def to_html(events: Sequence[ev.Event], title: str) -> str:
    """Convert to an HTML page without scripts or external resources."""
    body = "\n".join(_html_part(part) for part in parts(events))
    return _PAGE.format(title=html.escape(_one_line(title)), style=_STYLE, body=body)


def _html_part(part: Part) -> str:
    title = html.escape(_one_line(part.title))
    if part.kind == "answer":
        return f'<section class="answer"><h2>{title}</h2>{_html_markdown(part.body)}</section>'
    if part.kind == "user":
        return f'<section class="user"><h2>{title}</h2><pre>{html.escape(part.body)}</pre></section>'
    if not part.body:
        return f'<p class="{part.kind}">{title}</p>'
    return f'<details class="{part.kind}"><summary>{title}</summary><pre>{html.escape(part.body)}</pre></details>'


def _html_markdown(text: str) -> str:
    """Render Markdown as HTML; raw HTML stays text, and so do links that would run a script."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
    return str(parser.render(text))


def _with_sources(text: str, cited: ev.AnswerCited | None) -> str:
    if cited is None:
        return text
    found = references(text, cited.citations)
    body = replace_marks(to_terminal_text(text), found.labels)
    rows = [f"- {label} {described}" for label, described in found.entries]
    return f"{body}\n\nSources:\n\n" + "\n".join(rows) if rows else body


def _tool_title(event: ev.ToolFinished, call: ev.ToolCall | None) -> str:
    name = call.summary if call is not None and call.summary else event.tool
    return f"{name}: {event.status}, {seconds(event.seconds)}"


def _tool_body(event: ev.ToolFinished, call: ev.ToolCall | None) -> str:
    given = call.arguments.strip() if call is not None else ""
    return f"{given}\n\n{event.output}".strip() if given else event.output


def _one_line(text: str) -> str:
    return to_terminal_line(text).strip()


_STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem;
  color: #2c3230; background: #faf8f3; }
h1 { font-size: 1.3rem; } h2 { font-size: .8rem; letter-spacing: .06em; text-transform: uppercase; color: #1f7a6b; }
pre, code { font: 13px/1.5 ui-monospace, monospace; } pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
section pre, details pre { background: #f1eee6; padding: .7rem 1rem; border-radius: .4rem; }
.user { border-left: 3px solid #1f7a6b; padding-left: 1rem; } .user pre { background: none; padding: 0; }
details { margin: .6rem 0; color: #5d6663; } summary { cursor: pointer; } .reasoning summary { font-style: italic; }
table { border-collapse: collapse; } td, th { border: 1px solid #c9c3b4; padding: .2rem .6rem; }
@media (prefers-color-scheme: dark) { body { color: #d7d5cc; background: #101518; } h2 { color: #7fc4b4; }
  section pre, details pre { background: #171e22; } details { color: #9aa3a0; } .user { border-color: #7fc4b4; } }
"""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""
