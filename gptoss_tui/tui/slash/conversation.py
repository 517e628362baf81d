"""Commands about the conversation: starting, resuming, forking and compacting it, and what fills its context."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.blocks.base import plural
from gptoss_tui.tui.composing.requests import typed, typed_title
from gptoss_tui.tui.screens.picker import Item, Picker, loaded
from gptoss_tui.tui.slash.registry import Argument, Command, Value

if TYPE_CHECKING:
    from gptoss_tui.agent.commands import AgentPort, SessionSummary, TurnSummary
    from gptoss_tui.tui.slash.port import SlashPort

PREVIEW_MESSAGES = 12


async def _new(port: SlashPort, argument: str) -> None:
    await port.new_conversation()


def agent_or_say(port: SlashPort) -> AgentPort | None:
    """The agent; if there is none yet, tell the user to wait."""
    if port.agent is None:
        port.say("info", "The model is still loading; try again when it is ready.")
    return port.agent


async def _resume(port: SlashPort, argument: str) -> None:
    agent = agent_or_say(port)
    if agent is None:
        return
    if not argument:
        workspace = port.workspace

        async def load() -> Sequence[Item]:
            found = await asyncio.to_thread(agent.sessions)
            return [_session_item(one, workspace) for one in sorted(found, key=lambda one: one.workspace != workspace)]

        current = agent.session_id or ""
        picked = await port.pick(
            Picker(
                "Resume", load, what="resume", empty="No conversation was saved yet.", selected=current, preview=True
            )
        )
        if picked is None or picked.value == current:
            return
        argument = picked.value
    await port.resume(argument)


def _session_item(session: SessionSummary, workspace: str) -> Item:
    when = ago(session.updated)
    elsewhere = to_terminal_line(f"in {Path(session.workspace).name}, {when}")
    searched = f"{session.title} {session.workspace} {session.model} {session.id}"
    return Item(
        session.id,
        typed_title(session.title) or "(empty)",
        when if session.workspace == workspace else elsewhere,
        plural(session.turns, "turn"),
        lambda: _preview(session),
        searched=searched,
    )


def _preview(session: SessionSummary) -> str:
    """The last messages of a saved session."""
    from gptoss_tui.agent.session import load_session
    from gptoss_tui.errors import SessionError

    try:
        events = load_session(session.path).events
    except SessionError as error:
        return error.message
    said = []
    for event in events:
        if event.get("type") == "turn_started":
            said.append(f"❯ {typed(str(event.get('text', '')))}")
        elif event.get("type") == "answer_done" and not event.get("preamble"):
            said.append(str(event.get("text", "")))
    created = session.created.replace("T", " ")[:16]
    head = f"{session.workspace}\n{created}, {plural(session.turns, 'turn')} with {session.model}"
    return "\n\n".join([head, *said[-PREVIEW_MESSAGES:]])


def ago(when: str, now: datetime | None = None) -> str:
    """An ISO time relative to now, as people say it: `5 min ago`, `yesterday`, or a date."""
    try:
        then = datetime.fromisoformat(when)
    except ValueError:
        return ""
    now = now or datetime.now(then.tzinfo)
    minutes = int((now - then).total_seconds() // 60)
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} min ago"
    if now.date() == then.date() or minutes < 6 * 60:
        return f"{minutes // 60} h ago"
    days = (now.date() - then.date()).days
    return "yesterday" if days == 1 else f"{days} days ago" if days < 7 else then.strftime("%Y-%m-%d")


def turn_item(turn: TurnSummary) -> Item:
    """A picker row for a turn."""
    files = plural(len(turn.files), "file") if turn.files else ""
    text = typed(turn.text)
    preview = "\n".join([text, "", *(f"changed {path}" for path in turn.files)])
    return Item(str(turn.number), text, files, ago(turn.started), preview)


async def choose_turn(port: SlashPort, agent: AgentPort, argument: str, title: str, what: str) -> int | None:
    """The number of a turn: the argument if it is one, else picked from a list, newest first; None if neither."""
    turns = agent.turns()
    if argument:
        number = int(argument) if argument.isdecimal() else 0
        if any(turn.number == number for turn in turns):
            return number
        known = ", ".join(str(turn.number) for turn in turns[-8:]) or "none yet"
        port.say("warning", f"There is no turn {argument!r} in this conversation.", f"The last ones: {known}")
        return None
    items = [turn_item(turn) for turn in reversed(turns)]
    picked = await port.pick(Picker(title, loaded(items), what=what, empty="Nothing was said yet.", preview=True))
    return int(picked.value) if picked is not None else None


async def _fork(port: SlashPort, argument: str) -> None:
    agent = agent_or_say(port)
    if agent is None:
        return
    if argument == "all":
        turn: int | None = None
    else:
        turn = await choose_turn(port, agent, argument, "Fork before", "fork before this message")
        if turn is None:
            return
    await port.fork(turn)


def _fork_values(port: SlashPort) -> Iterable[Value]:
    yield Value("all", "a copy of the whole conversation")
    yield from turn_values(port)


def turn_values(port: SlashPort) -> Iterable[Value]:
    """The turns of the conversation, newest first."""
    turns = port.agent.turns() if port.agent is not None else ()
    return [Value(str(turn.number), typed(turn.text).split("\n")[0][:80]) for turn in reversed(turns)]


async def _compact(port: SlashPort, argument: str) -> None:
    agent = agent_or_say(port)
    if agent is not None:
        await port.compact(argument)


async def _context(port: SlashPort, argument: str) -> None:
    from gptoss_tui.tui.screens.context import ContextScreen

    agent = agent_or_say(port)
    if agent is not None:
        await port.open(ContextScreen(agent.context(), port.palette))


def _session_values(port: SlashPort) -> Iterable[Value]:
    if port.agent is None:
        return []
    found = port.agent.sessions(Path(port.workspace))
    return [
        Value("last", "the newest one"),
        *(Value(one.id, f"{typed_title(one.title)} · {ago(one.updated)}") for one in found),
    ]


COMMANDS = (
    Command(
        "new",
        "start an empty conversation",
        _new,
        "Conversation",
        aliases=("clear",),
        while_running=False,
        more="The current conversation stays saved; /resume brings it back.",
    ),
    Command(
        "resume",
        "go on with a saved conversation",
        _resume,
        "Conversation",
        Argument("[id]", _session_values),
        aliases=("sessions",),
        while_running=False,
        more="Lists the saved conversations, those of this workspace first, with their last messages. You can "
        "shorten an id; `last` is the newest of this workspace.",
    ),
    Command(
        "fork",
        "go on in a copy of the conversation",
        _fork,
        "Conversation",
        Argument("[turn]", _fork_values),
        while_running=False,
        more="The copy has everything before the chosen message, which goes into the composer; `all` copies the "
        "whole conversation. The original stays as it is.",
    ),
    Command(
        "compact",
        "sum the conversation up to make room",
        _compact,
        "Conversation",
        Argument("[what matters]"),
        while_running=False,
        more="The model writes a summary and continues from it. Say what matters to keep it. The saved "
        "conversation keeps everything.",
    ),
    Command("context", "what fills the context, as a picture", _context, "Conversation"),
)
