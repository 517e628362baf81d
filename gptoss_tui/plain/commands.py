"""What a line that begins with `/` does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gptoss_tui.agent.commands import AgentPort
from gptoss_tui.agent.policy.book import describe_rule
from gptoss_tui.agent.policy.modes import MODE_MEANINGS, MODES
from gptoss_tui.errors import UsageError
from gptoss_tui.harmony.messages import EFFORTS
from gptoss_tui.sanitize import to_terminal_line

Say = Callable[[str], None]
Run = Callable[[AgentPort, Say, str], Awaitable[None]]

_MOST_SESSIONS = 20


@dataclass(frozen=True, slots=True)
class Command:
    """A command: how it is written, what it does, and the function. `waits`: not while a turn runs."""

    form: str
    help: str
    run: Run
    waits: bool = False


async def run_command(agent: AgentPort, say: Say, line: str, *, running: bool) -> None:
    """Run the command of `line`. Raises UsageError for one that there is not, and what the agent raises."""
    name, _, argument = line[1:].strip().partition(" ")
    command = COMMANDS.get(name)
    if command is None:
        raise UsageError(f"There is no command /{name}", hint="/help lists them")
    if running and command.waits:
        raise UsageError(f"/{name} is not available while the model works", hint="/stop stops it")
    await command.run(agent, say, argument.strip())


async def _effort(agent: AgentPort, say: Say, argument: str) -> None:
    if not argument:
        say(f"Effort is {agent.effort}. Levels: {', '.join(EFFORTS)}.")
        return
    if argument not in EFFORTS:
        raise UsageError(f"There is no effort {argument}", hint=f"levels: {', '.join(EFFORTS)}")
    cost = agent.effort_cost(argument)
    agent.effort = argument
    say(f"Effort is {argument}." + (f" {cost} tokens will be read again." if cost else ""))


async def _mode(agent: AgentPort, say: Say, argument: str) -> None:
    if argument and argument not in MODES:
        raise UsageError(f"There is no mode {argument}", hint=f"modes: {', '.join(agent.modes)}")
    if argument:
        agent.mode = argument
    say(f"Mode is {agent.mode}: {MODE_MEANINGS[agent.mode]}.")
    if not argument:
        say(f"Modes: {', '.join(agent.modes)}.")


async def _context(agent: AgentPort, say: Say, argument: str) -> None:
    report = agent.context()
    limit = f" of {report.limit}" if report.limit else ""
    say(f"Context: {report.used}{limit} tokens, {report.cached} of them in the engine's memory.")
    for name in ("system", "developer", "user", "reasoning", "calls", "tool_results", "answers"):
        say(f"  {name.replace('_', ' ')}: {getattr(report, name)}")


async def _turns(agent: AgentPort, say: Say, argument: str) -> None:
    for turn in agent.turns():
        files = f", changed {', '.join(turn.files)}" if turn.files else ""
        say(f"{turn.number}. {turn.text.splitlines()[0]}{files}")


async def _new(agent: AgentPort, say: Say, argument: str) -> None:
    agent.new_conversation()
    say("A new conversation.")


async def _sessions(agent: AgentPort, say: Say, argument: str) -> None:
    found = agent.sessions(None if argument == "all" else Path.cwd())[:_MOST_SESSIONS]
    lines = [f"{session.id}: {session.title}, {session.turns} turns, {session.updated}" for session in found]
    _say_all(say, lines, none="No conversation was saved here. /sessions all lists those of other folders.")


async def _resume(agent: AgentPort, say: Say, argument: str) -> None:
    resumed = agent.resume(argument or "last")
    for notice in resumed.notices:
        say(f"Note: {notice}")
    say(f"Going on with {resumed.id}; it has {len(agent.turns())} turns.")


async def _rules(agent: AgentPort, say: Say, argument: str) -> None:
    lines = [f"{rule.id}: {to_terminal_line(describe_rule(rule))}, {rule.scope}" for rule in agent.rules()]
    _say_all(say, lines, none="Nothing is allowed for longer than once.")


async def _revoke(agent: AgentPort, say: Say, argument: str) -> None:
    say(f"Revoked: {to_terminal_line(describe_rule(agent.revoke(argument)))}")


async def _tools(agent: AgentPort, say: Say, argument: str) -> None:
    for tool in agent.tools():
        say(f"{tool.name}: {tool.about.splitlines()[0] if tool.about else ''}")


async def _skills(agent: AgentPort, say: Say, argument: str) -> None:
    lines = [
        f"{skill.name}, {'yours' if skill.own else 'of the project'}: {skill.about} ({skill.file})"
        for skill in agent.skills()
    ]
    _say_all(say, lines, none="There are no skills that the model is told about.")


async def _help(agent: AgentPort, say: Say, argument: str) -> None:
    for line in help_lines():
        say(line)


def _say_all(say: Say, lines: Sequence[str], *, none: str) -> None:
    """Say each line of a list, or `none` if it is empty."""
    for line in lines or (none,):
        say(line)


def help_lines() -> Iterator[str]:
    """What can be typed."""
    yield "Type a message and press Enter. While the model works, a message steers it."
    yield "Ctrl+C or /stop stops the model, Ctrl+D or /quit ends the app."
    for name, command in COMMANDS.items():
        yield f"/{name}{' ' + command.form if command.form else ''}: {command.help}"
    for form, what in FRONT_COMMANDS.items():
        yield f"{form}: {what}"


def turn_number(argument: str) -> int | None:
    """The turn that is named, if one is. Raises UsageError for what is no number."""
    if argument and not argument.isdecimal():
        raise UsageError(f"{argument} is not a turn number", hint="/turns lists them")
    return int(argument) if argument else None


COMMANDS: dict[str, Command] = {
    "help": Command("", "this list", _help),
    "effort": Command("[low, medium or high]", "how long the model thinks", _effort),
    "mode": Command("[name]", "how much may happen without asking", _mode),
    "context": Command("", "what the context holds, in tokens", _context),
    "turns": Command("", "the messages of this conversation", _turns),
    "new": Command("", "start an empty conversation", _new, waits=True),
    "sessions": Command("[all]", "saved conversations", _sessions),
    "resume": Command("[id]", "go on with a saved conversation", _resume, waits=True),
    "tools": Command("", "the tools of the model", _tools),
    "skills": Command("", "the skills that the model may use", _skills),
    "rules": Command("", "what is allowed for longer than once", _rules),
    "revoke": Command("id", "take such a rule back", _revoke),
}

FRONT_COMMANDS = {
    "!command": "run a command of your own; what it prints goes with the next message",
    "/name [arguments]": "send a saved prompt, yours or the project's",
    "/undo [turn]": "take the last turn back, with its files",
    "/redo": "bring back what was undone",
    "/queue text": "send this when the running turn is done",
    "/compact [what matters]": "let the model sum the conversation up",
    "/stop": "stop the model",
    "/quit": "end the app",
}
"""Commands that the loop itself runs."""
