"""`/skills`: lists the available skills, and asks the model to use one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.slash.conversation import agent_or_say
from gptoss_tui.tui.slash.registry import Argument, Command, Value

if TYPE_CHECKING:
    from gptoss_tui.agent.commands import SkillSummary
    from gptoss_tui.tui.slash.port import SlashPort

_NONE = "None. A folder with a SKILL.md in .agents/skills is one; nano is told of none."


async def _skills(port: SlashPort, argument: str) -> None:
    from gptoss_tui.tui.screens.picker import Item, Picker, loaded

    agent = agent_or_say(port)
    if agent is None:
        return
    skills = {skill.name: skill for skill in agent.skills()}
    name, _, task = argument.partition(" ")
    if name and name not in skills:
        port.say("warning", f"There is no skill {to_terminal_line(name)!r}.", "/skills lists them.")
        return
    if not name:
        items = [
            Item(one.name, one.name, one.about, _whose(one), f"{one.about}\n\n{one.file}") for one in skills.values()
        ]
        picker = Picker("Skills", loaded(items), what="ask for it", empty=_NONE, preview=True)
        picked = await port.pick(picker)
        if picked is None:
            return
        name = picked.value
    request = f"{skills[name].request}{task.strip()}"
    port.send(request) if task.strip() else port.set_draft(request)


def _whose(skill: SkillSummary) -> str:
    return "yours" if skill.own else "the project's"


def _values(port: SlashPort) -> Iterable[Value]:
    return [Value(skill.name, skill.about) for skill in port.agent.skills()] if port.agent is not None else []


COMMANDS = (
    Command(
        "skills",
        "the skills that the model may use",
        _skills,
        "Tools",
        Argument("[name] [task]", _values),
        more="Folders with a SKILL.md, yours and the project's. Choosing one writes the beginning of a message that "
        "asks for it; the model also uses one by itself when the task is what its description says.",
    ),
)
