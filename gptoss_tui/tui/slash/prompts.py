"""Prompts of the person's own: Markdown files of a folder, each a command of its name.

A file may begin with front matter (`description`, `argument-hint`) between two lines of `---`. In its text
`$ARGUMENTS` is all that was typed behind the name, `$1` to `$9` single words of it (quotes keep words together), and
`$$` a dollar sign. What was typed is put in once and never read as a place for more.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.slash.registry import NAME, Argument, Command

if TYPE_CHECKING:
    from gptoss_tui.tui.slash.port import SlashPort

MAX_PROMPTS = 200
MAX_BYTES = 200_000

_FRONT = re.compile(r"\A---[ \t]*\n(?P<front>.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_PLACE = re.compile(r"\$(ARGUMENTS\b|[1-9]|\$)")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt file: the name of its command, what it says about itself, and its text."""

    name: str
    description: str
    hint: str
    text: str


def read_prompts(folder: Path) -> list[Prompt]:
    """The prompts of a folder, by name; files that cannot be read or have no name for a command are left out."""
    try:
        paths = sorted(path for path in folder.glob("*.md") if path.is_file())
    except OSError:
        return []
    return [prompt for path in paths[:MAX_PROMPTS] if (prompt := _read(path)) is not None]


def parse_prompt(name: str, content: str) -> Prompt:
    """A prompt from the content of its file."""
    content = content.replace("\r\n", "\n")
    front: dict[str, str] = {}
    if match := _FRONT.match(content):
        content = content[match.end() :]
        for line in match["front"].split("\n"):
            key, colon, value = line.partition(":")
            if colon:
                front[key.strip().lower()] = value.strip().strip("\"'")
    text = content.strip("\n")
    first = next((line.strip("# ").strip() for line in text.split("\n") if line.strip()), "")
    description = front.get("description") or first[:80] or "a prompt of yours"
    return Prompt(name, to_terminal_line(description), to_terminal_line(front.get("argument-hint", "")), text)


def fill(text: str, argument: str) -> str:
    """The text with what was typed in its places; without places it goes below the text."""
    words = split_words(argument)

    def place(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        if match[1] == "ARGUMENTS":
            return argument
        number = int(match[1]) - 1
        return words[number] if number < len(words) else ""

    filled = _PLACE.sub(place, text)
    has_place = any(match[1] != "$" for match in _PLACE.finditer(text))
    return filled if has_place or not argument else f"{filled}\n\n{argument}"


def split_words(text: str) -> list[str]:
    """The words of an argument; quotes keep words together, an open quote is a character."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def prompt_commands(prompts: list[Prompt]) -> list[Command]:
    """Each prompt as a command that sends it."""
    return [_command(prompt) for prompt in prompts]


def _command(prompt: Prompt) -> Command:
    async def run(port: SlashPort, argument: str) -> None:
        port.send(fill(prompt.text, argument))

    takes = prompt.hint or ("[arguments]" if _PLACE.search(prompt.text) else "")
    return Command(prompt.name, prompt.description, run, "Your prompts", Argument(takes) if takes else None)


def _read(path: Path) -> Prompt | None:
    if not NAME.fullmatch(path.stem.lower()):
        return None
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    prompt = parse_prompt(path.stem.lower(), content)
    return prompt if prompt.text.strip() else None
