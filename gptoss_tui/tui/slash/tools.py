"""Commands about what the model may do: its tools, the approval mode, and standing answers to approvals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gptoss_tui.agent.policy.book import describe_rule
from gptoss_tui.agent.policy.modes import MODE_MEANINGS, MODES, Mode
from gptoss_tui.errors import GptOssError
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.screens.picker import Action, Item, Picker, loaded
from gptoss_tui.tui.slash.conversation import agent_or_say
from gptoss_tui.tui.slash.registry import Argument, Command, Value

if TYPE_CHECKING:
    from gptoss_tui.agent.commands import AgentPort
    from gptoss_tui.agent.policy.rules import Rule
    from gptoss_tui.tui.slash.port import SlashPort

_SCOPES = {"session": "this conversation", "workspace": "this workspace", "user": "everywhere"}


async def _tools(port: SlashPort, argument: str) -> None:
    agent = agent_or_say(port)
    if agent is None:
        return
    items = [
        Item(tool.name, tool.name, tool.about.split("\n")[0], "", tool.about, searched=f"{tool.name} {tool.about}")
        for tool in agent.tools()
    ]
    await port.pick(Picker(f"Tools of the model · {_mode(agent)}", loaded(items), what="close", preview=True))


def _mode(agent: AgentPort) -> str:
    return f"{agent.mode}: {MODE_MEANINGS[agent.mode]}"


async def _approvals(port: SlashPort, argument: str) -> None:
    agent = agent_or_say(port)
    if agent is None:
        return
    selected = ""
    if not agent.rules():
        hint = "Answer an approval with `a` or `w`, and it is listed here."
        port.say("info", f"No standing answers. Mode {_mode(agent)}.", hint)
        return
    while agent.rules():
        picked = await port.pick(
            Picker(
                f"Standing answers · {_mode(agent)}",
                loaded(rule_items(agent.rules())),
                what="close",
                selected=selected,
                preview=True,
                actions=(Action("delete", "Delete", "revoke", "revoke"),),
            )
        )
        if picked is None or picked.action != "revoke":
            return
        _revoke(port, agent, picked.value)


def _revoke(port: SlashPort, agent: AgentPort, rule_id: str) -> None:
    try:
        rule = agent.revoke(rule_id)
    except GptOssError as error:
        port.say("warning", error.message, error.hint or "")
        return
    port.flash(f"Revoked: {describe_rule(rule)}")


def rule_items(rules: Sequence[Rule]) -> list[Item]:
    """Rules as picker rows, with their scope and origin."""
    items = []
    for rule in rules:
        words = describe_rule(rule)
        made = rule.created.replace("T", " ")[:16]
        about = [words, f"Holds: {_SCOPES[rule.scope]}", f"Reach: {rule.reach}"]
        about += [f"Made: {made}"] if made else []
        about += [f"Written in {rule.place}; edit that file to change it."] if rule.place else []
        items.append(Item(rule.id, words, "", _SCOPES[rule.scope], "\n".join(about), searched=f"{words} {rule.scope}"))
    return items


async def _trust(port: SlashPort, argument: str) -> None:
    agent = agent_or_say(port)
    if agent is None:
        return
    if argument not in ("", "off"):
        port.say("warning", f"/trust does not know {to_terminal_line(argument)!r}.", "Use /trust, or /trust off.")
        return
    file = agent.trust(argument != "off")
    if argument == "off":
        port.say("info", f"{file.path} may only forbid things from now on.")
    else:
        port.say("info", f"{file.path}, as it is now, may allow things.", "/trust off takes that back.")


async def _mode_command(port: SlashPort, argument: str) -> None:
    agent = agent_or_say(port)
    if agent is None:
        return
    if not argument:
        items = [
            Item(mode, mode, MODE_MEANINGS[mode], "in use" if mode == agent.mode else "", refusal=_refusal(agent, mode))
            for mode in MODES
        ]
        picked = await port.pick(Picker("Approval mode", loaded(items), what="use", selected=agent.mode))
        if picked is None:
            return
        argument = picked.value
    wanted = [mode for mode in MODES if mode == argument.lower()]
    if not wanted:
        port.say("warning", f"There is no mode {to_terminal_line(argument)!r}.", f"Known: {', '.join(MODES)}")
        return
    port.use_mode(wanted[0])


def _refusal(agent: AgentPort, mode: Mode) -> str:
    return "" if mode in agent.modes else "Not in this workspace: its own file, or a damaged one, keeps it out."


def _mode_values(port: SlashPort) -> Sequence[Value]:
    return [Value(mode, MODE_MEANINGS[mode]) for mode in MODES]


def _trust_values(port: SlashPort) -> Sequence[Value]:
    return [Value("off", "the file may only forbid things")]


COMMANDS = (
    Command(
        "mode",
        "how much may happen without asking",
        _mode_command,
        "Tools",
        Argument("[mode]", _mode_values),
        more="read-only, ask, auto-edit or full-auto. Shift+Tab switches between them.",
    ),
    Command("tools", "the tools that the model has", _tools, "Tools"),
    Command(
        "approvals",
        "standing answers to approvals, to revoke",
        _approvals,
        "Tools",
        aliases=("permissions", "rules"),
        more="Lists what is allowed or denied for more than one call: for this conversation, this workspace or "
        "everywhere. Delete revokes the selected one.",
    ),
    Command(
        "trust",
        "let the workspace's own rules allow things",
        _trust,
        "Tools",
        Argument("[off]", _trust_values),
        more="The `.gptoss-tui.toml` of a workspace can always deny things. This command lets it allow things too, as "
        "it is now; changing the file ends that.",
    ),
)
