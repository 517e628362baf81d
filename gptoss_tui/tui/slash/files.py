"""Commands about changed files, and undo and redo of turns: of the conversation and its files together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from gptoss_tui.agent.commands import UndoOutcome
from gptoss_tui.tui.blocks.base import plural
from gptoss_tui.tui.composing.requests import init_request, review_request
from gptoss_tui.tui.screens.picker import Item, Picker, loaded
from gptoss_tui.tui.slash.conversation import agent_or_say, choose_turn, turn_values
from gptoss_tui.tui.slash.registry import Argument, Command
from gptoss_tui.undo.types import Choice, Conflict, UndoReport

if TYPE_CHECKING:
    from gptoss_tui.tui.slash.port import SlashPort

PREVIEW_BYTES = 4000

_CHOICES: dict[Choice, tuple[str, str]] = {
    "keep": ("keep it as it is now", "what was changed since stays; the turn's change of this file stays too"),
    "restore": ("put it back", "what was changed since is lost"),
    "merge": ("write both, with conflict marks", "for you to mend"),
}

Ask = Callable[[dict[str, Choice]], Awaitable[UndoOutcome]]


async def _undo(port: SlashPort, argument: str) -> None:
    agent = agent_or_say(port)
    if agent is None:
        return
    turn: int | None = None
    if argument:
        known = [one.number for one in agent.turns()]
        turn = int(argument) if argument.isdecimal() else 0
        if turn not in known:
            last = ", ".join(map(str, known[-8:])) or "none yet"
            port.say("warning", f"There is no turn {argument!r} in this conversation.", f"The last ones: {last}")
            return
    await _settle(port, lambda choices: port.undo(turn, choices), "Undone")


async def _redo(port: SlashPort, argument: str) -> None:
    if agent_or_say(port) is not None:
        await _settle(port, port.redo, "Made again")


async def _rewind(port: SlashPort, argument: str) -> None:
    agent = agent_or_say(port)
    if agent is None:
        return
    turn = await choose_turn(port, agent, argument, "Go back to before this message", "go back")
    if turn is None:
        return
    changed = sorted({path for one in agent.turns() if one.number >= turn for path in one.files})
    how = "conversation"
    if changed:
        items = [
            Item("conversation", "The conversation", "files stay as they are"),
            Item("files", "The conversation and its files", f"puts back {_names(changed)}"),
        ]
        picked = await port.pick(Picker("What goes back?", loaded(items), what="go back"))
        how = picked.value if picked is not None else ""
    if how == "files":
        await _settle(port, lambda choices: port.undo(turn, choices), "Undone")
    elif how:
        await port.rewind(turn)


async def _settle(port: SlashPort, act: Ask, done: str) -> None:
    """Undo or redo, asking about each file that was changed by others, until there is no conflict left."""
    choices: dict[str, Choice] = {}
    reports: list[UndoReport] = []
    while True:
        outcome = await act(choices)
        open_conflicts = outcome.conflicts
        reports += [report for report in outcome.reports if report.done]
        if not open_conflicts:
            break
        for conflict in open_conflicts:
            choice = await _ask(port, conflict)
            if choice is None:
                port.say("info", f"Stopped at {conflict.path}; it is as it was.", _summary(reports))
                return
            choices[conflict.path] = choice
    port.say("info", f"{done}. {_summary(reports)}".strip())


async def _ask(port: SlashPort, conflict: Conflict) -> Choice | None:
    items = [
        Item(choice, _CHOICES[choice][0], "", "", f"{_CHOICES[choice][1]}\n\n{_difference(conflict)}")
        for choice in conflict.choices
    ]
    title = conflict.reason
    picked = await port.pick(Picker(title, loaded(items), what="decide", preview=True))
    return next((choice for choice in conflict.choices if picked is not None and choice == picked.value), None)


def _difference(conflict: Conflict) -> str:
    """A unified diff from the file as it is now to what it would become, limited to the beginning of both."""
    import difflib

    def rows(content: bytes | None) -> list[str]:
        return (content or b"")[:PREVIEW_BYTES].decode("utf-8", "replace").splitlines()

    return "\n".join(
        difflib.unified_diff(rows(conflict.current), rows(conflict.wanted), "now", "put back", lineterm="")
    )


def _summary(reports: Sequence[UndoReport]) -> str:
    """What happened to the files, in one sentence."""
    restored = [path for report in reports for path in report.restored]
    merged = [path for report in reports for path in report.merged]
    kept = [path for report in reports for path in report.kept]
    parts = []
    if restored:
        parts.append(f"{plural(len(set(restored)), 'file')} put back: {_names(restored)}")
    if merged:
        parts.append(f"with later changes kept: {_names(merged)}")
    if kept:
        parts.append(f"left alone: {_names(kept)}")
    return "; ".join(parts) or "No file had changed."


def _names(paths: Sequence[str]) -> str:
    unique = sorted(set(paths))
    return ", ".join(unique[:5]) + (f" and {len(unique) - 5} more" if len(unique) > 5 else "")


async def _init(port: SlashPort, argument: str) -> None:
    port.send(init_request(argument))


async def _review(port: SlashPort, argument: str) -> None:
    agent = agent_or_say(port)
    if agent is None:
        return
    if all(tool.name != "shell" for tool in agent.tools()):
        port.say("info", "A review needs the shell tool to ask git what changed.", "--shell gives it to the model.")
        return
    port.send(review_request(argument))


async def _diff(port: SlashPort, argument: str) -> None:
    from gptoss_tui.tui.screens.changes import ChangesScreen, changes_of

    diffs = changes_of(port.record().events)
    if diffs:
        await port.open(ChangesScreen(diffs, port.palette))
    else:
        port.say("info", "No file was changed through patches or edits in this conversation.")


COMMANDS = (
    Command(
        "diff",
        "what this conversation changed in files",
        _diff,
        "Files",
        aliases=("changes",),
        more="All applied patches and edits in order, side by side if there is room. What commands changed is in their "
        "results.",
    ),
    Command(
        "init",
        "let the model write AGENTS.md for this workspace",
        _init,
        "Files",
        Argument("[what matters]"),
        while_running=False,
        more="It looks around first, and updates an existing file. The next conversation is told what it says.",
    ),
    Command(
        "review",
        "let the model review what is not committed",
        _review,
        "Files",
        Argument("[what]"),
        while_running=False,
        more="Or something else, as in `/review the last commit` or `/review main...HEAD`. The model is told "
        "to change nothing, and the commands it runs ask as always.",
    ),
    Command(
        "undo",
        "take the last turn back, files included",
        _undo,
        "Files",
        Argument("[turn]", turn_values),
        while_running=False,
        more="Takes back the last turn, or everything from the given turn on: the conversation, and the files that it "
        "changed, deleted or moved. A file that changed since is merged or asked about, never overwritten. "
        "The message comes back into the composer.",
    ),
    Command(
        "rewind",
        "go back to before an earlier message",
        _rewind,
        "Files",
        Argument("[turn]", turn_values),
        while_running=False,
        more="Also Esc Esc. The conversation goes on from there, and the message returns to the composer. If files "
        "were changed since, it asks whether to restore them too.",
    ),
    Command(
        "redo",
        "make what was undone again",
        _redo,
        "Files",
        while_running=False,
        more="Brings back what /undo or /rewind dropped last, until you send the next message.",
    ),
)
