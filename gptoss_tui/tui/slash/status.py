"""`/status`: the model, the context and the conversation in a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gptoss_tui.agent.policy.modes import MODE_MEANINGS
from gptoss_tui.tui.blocks.base import plural
from gptoss_tui.tui.blocks.notice import COLUMN_GAP
from gptoss_tui.tui.slash.registry import Command
from gptoss_tui.tui.widgets.status import engine_place
from gptoss_tui.units import format_bytes

if TYPE_CHECKING:
    from gptoss_tui.agent.commands import AgentPort
    from gptoss_tui.engine.types import EngineInfo
    from gptoss_tui.tui.slash.port import SlashPort


async def _status(port: SlashPort, argument: str) -> None:
    agent, info = port.agent, port.info
    if agent is None or info is None:
        port.say("info", f"{port.model} is not loaded. Workspace: {port.workspace}")
        return
    rows = status_rows(port, agent, info)
    width = max(len(name) for name, _ in rows)
    port.say("info", "\n".join(f"{name:<{width}}{COLUMN_GAP}{what}" for name, what in rows))


def status_rows(port: SlashPort, agent: AgentPort, info: EngineInfo) -> list[tuple[str, str]]:
    """The rows as pairs of a name and a text."""
    report = agent.context()
    weights = f", {format_bytes(info.weight_bytes)} of weights" if info.weight_bytes else ""  # servers do not report it
    return [
        ("Model", f"{info.model} on {engine_place(info.backend, info.device)}{weights}"),
        ("Context", f"{report.used:,} of {info.context:,} tokens, {report.cached:,} cached"),
        ("Effort", port.effort),
        ("Approvals", f"{agent.mode} ({MODE_MEANINGS[agent.mode]}), {plural(len(agent.rules()), 'standing answer')}"),
        ("Tools", ", ".join(tool.name for tool in agent.tools()) or "none"),
        ("Conversation", f"{agent.session_id or 'not saved yet'}, {plural(len(agent.turns()), 'turn')}"),
        ("Workspace", port.workspace),
    ]


COMMANDS = (
    Command(
        "status",
        "model, context and approvals at a glance",
        _status,
        "Conversation",
        more="For more, see /context, /approvals and /tools.",
    ),
)
