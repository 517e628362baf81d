"""Generates `docs/commands.md` from the registry: `python -m gptoss_tui.tui.slash.page > docs/commands.md`."""

from __future__ import annotations

from pathlib import Path

from gptoss_tui.tui.slash.builtin import BUILTIN
from gptoss_tui.tui.slash.registry import Command, Group

_HEAD = """\
# Commands and the composer

Made by `python -m gptoss_tui.tui.slash.page` from the commands of the app and `tui/slash/page.md`.
"""
_TEXT = Path(__file__).with_suffix(".md")


def commands_page() -> str:
    """The text of the page."""
    parts = [_HEAD, _TEXT.read_text(encoding="utf-8").rstrip() + "\n", "## Commands\n"]
    groups: dict[Group, list[Command]] = {}
    for command in BUILTIN:
        groups.setdefault(command.group, []).append(command)
    for group, commands in groups.items():
        rows = [f"| `{command.usage}` | {_about(command)} |" for command in commands]
        parts.append("\n".join([f"### {group}\n", "| command | does |", "|---|---|", *rows, ""]))
    return "\n".join(parts)


def _about(command: Command) -> str:
    about = f"{command.about}. {command.more}".strip()
    aliases = ", ".join(f"`/{name}`" for name in command.aliases)
    waits = "" if command.while_running else " Not available while the model works."
    return f"{about}{waits}" + (f" Also {aliases}." if aliases else "")


if __name__ == "__main__":
    print(commands_page(), end="")
